// From a request to a job: the same way for every endpoint.
#pragma once

#include <optional>
#include <string>

#include "engine/serve/api/context.h"
#include "engine/serve/api/endpoints.h"

namespace wan::serve {

struct Submission {
  Priority priority = Priority::Normal;
  std::optional<double> start_within;  // seconds
  std::string webhook;                 // empty: none
  std::string webhook_field;           // a field of the body that may name it, too; empty: none
  bool awaited = false;                // the client gets the end of the job in place of its id
};

/// A job that is on the disk.
struct Submitted {
  JobPtr job;
  bool wants_end = false;  // the client asks to be answered when it has ended (WaveSpeed's enable_sync_mode)
};

/// Reads and checks the request, keeps its inputs and submits it. Throws HttpError in the vendor's form: who calls,
/// what is wrong with the body, quotas, a disk that is full, a task without a model.
Awaitable<Submitted> submit_job(ApiContext& context, Exchange& exchange, const Endpoint& endpoint,
                                const Submission& submission);

/// Returns when the job has ended, or after `most`.
Awaitable<void> wait_for_end(Jobs& jobs, const JobPtr& job, std::chrono::milliseconds most);

/// Throws HttpError 400 unless it is empty or an http(s) URL of at most 2048 bytes.
void check_webhook(const std::string& url, Access::Form form);

}  // namespace wan::serve
