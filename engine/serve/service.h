// One server's parts and the order in which they begin and end. Included by serve.cpp.
#pragma once

#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>

#include "engine/serve/api/access.h"
#include "engine/serve/api/context.h"
#include "engine/serve/api/metrics.h"
#include "engine/serve/api/status_pages.h"
#include "engine/serve/api/webhooks.h"
#include "engine/serve/net/asio.h"
#include "engine/serve/net/pool.h"
#include "engine/serve/queue/integrity.h"
#include "engine/serve/retention.h"
#include "engine/serve/serve.h"

namespace wan::serve {

class Service {
 public:
  /// Throws as run() does. Listens when it returns.
  Service(boost::asio::io_context& io, Settings settings, RunOptions options);
  ~Service();

  /// Until a signal ends it.
  void run();

 private:
  void set_up_jobs();
  void add_routes();
  Awaitable<Answer> answer(Exchange& exchange);
  Awaitable<Answer> routed(Exchange& exchange);
  void write_metrics(MetricText& out) const;
  void say_where();
  /// No more jobs: what the database holds may be wrong, and each change may make it worse.
  void take_damage(const std::string& why);

  void wait_for_signal();
  void on_signal(int number);
  void read_keys_again();
  Awaitable<void> stop(int number);

  boost::asio::io_context& io_;
  Settings settings_;
  const RunOptions options_;
  boost::asio::signal_set signals_;
  bool stopping_ = false;

  Metrics metrics_;
  Pool pool_{2};
  Access access_;
  Jobs jobs_;
  Files files_;
  Retention retention_;
  Dispatcher dispatcher_;
  Webhooks webhooks_;
  ApiContext api_;
  StatusContext status_;
  Router router_;
  std::optional<Server> server_;
  std::string damage_;  // of the database; empty: none is known
  std::optional<IntegrityCheck> integrity_;
};

}  // namespace wan::serve
