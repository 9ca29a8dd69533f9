// What the parts of the page share, and how their routes get into a router.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/serve/api/context.h"

namespace wan::serve {

/// Hosted prices that the operator keeps in a file of the data folder, else those of the hosted pages.
class Prices {
 public:
  explicit Prices(std::filesystem::path file);
  const nlohmann::ordered_json& get() const { return prices_; }
  void keep(nlohmann::ordered_json prices);

 private:
  std::filesystem::path file_;
  nlohmann::ordered_json prices_;
};

/// The body of a request of the page, at most 64 KiB. Throws HttpError 413, and 422 where it is no JSON.
Awaitable<nlohmann::json> page_body(Exchange& exchange);
/// 204.
Answer no_content();
/// {"workers": [{"device", "name", "state", "trouble"}], "paused"}. `trouble` may name files of the machine: only
/// admins have it.
nlohmann::ordered_json page_workers(const Dispatcher& dispatcher, bool is_admin);
/// Tells one page of what changes until it, or the key of `caller`, has gone: events "job", "removed" and "workers". Looks twice a second, which
/// is soon enough for people. A job that waits is told again where its position has changed, or its begin has moved
/// from where the page, which counts down, shows it.
Awaitable<void> tell_page(EventStream& events, ApiContext& context, Caller caller,
                          std::shared_ptr<const Prices> prices);

/// /page/session: who is signed in, sign in, sign out.
void add_session_routes(Router& router, ApiContext& context);
/// /page/jobs: the newest ones, older ones, removal; /page/events.
void add_page_job_routes(Router& router, ApiContext& context, std::shared_ptr<const Prices> prices);
/// /page/prices and /page/savings.
void add_price_routes(Router& router, ApiContext& context, std::shared_ptr<Prices> prices);

}  // namespace wan::serve
