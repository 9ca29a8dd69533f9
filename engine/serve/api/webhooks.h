// Tells webhooks that their jobs have ended: several times where they do not answer, also after a restart.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "engine/serve/api/hook_sender.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

struct WebhookOptions {
  HookSender::Options sending;
  // Ten tries; the pauses between them double, from 10 s to 43 min: 85 min in all.
  int64_t most_tries = 10;
  std::chrono::milliseconds first_pause{10'000}, longest_pause{3'600'000};
  size_t most_at_once = 32, most_of_a_host = 4;  // messages under way: a host that hangs holds up no other
};

/// A message is kept in the store from the end of its job until the target took it or all tries failed, and is sent at
/// least once: a target may get it twice where this process ends between its answer and the note of it.
class Webhooks {
 public:
  /// `body`: the JSON text for an ended job that has a webhook.
  Webhooks(boost::asio::io_context& io, Jobs& jobs, WebhookOptions options, std::function<std::string(const Job&)> body,
           std::function<void(const std::string&)> report);
  ~Webhooks();

  /// Goes on with the messages of an earlier process; where the store does not tell them, it is asked again.
  Awaitable<void> start();
  /// The job has ended, and that is on the disk together with its PutHook. Does nothing where it has no webhook.
  void ended(const JobPtr& job);
  /// Sends nothing more; what was not sent stays in the store.
  void stop();

  struct Counts {
    uint64_t waiting = 0;  // not yet taken
    uint64_t sent = 0, failed_tries = 0, given_up = 0;
  };
  Counts counts() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace wan::serve
