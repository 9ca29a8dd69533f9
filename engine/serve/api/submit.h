// From a request to a job: the same way for every endpoint.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/serve/api/context.h"
#include "engine/serve/api/endpoints.h"
#include "engine/serve/api/validate.h"

namespace wan::serve {

struct Submission {
  Priority priority = Priority::Normal;
  std::optional<double> start_within;  // seconds
  std::string webhook;                 // empty: none
  std::string webhook_field;           // a field of the body that may name it, too; empty: none
  bool awaited = false;                // the client gets the end of the job in place of its id

  std::optional<Access::Form> form = {};          // of refusals; nothing: that of the endpoint's vendor
  std::map<std::string, std::string> names = {};  // what errors call fields that this client calls otherwise
  nlohmann::json beside = nlohmann::json::object();  // what is kept with the job's input, beside the endpoint's fields
  std::vector<std::string> notes = {};               // for the job's log
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

/// The same for a body that is read already. `errors` has what was found wrong so far; `body` is no object only where that
/// says so.
Awaitable<Submitted> submit_body(ApiContext& context, Exchange& exchange, const Endpoint& endpoint,
                                 const Caller& caller, const Submission& submission, const nlohmann::json& body,
                                 ErrorList& errors);

/// How many bytes a body may have: its files in base64, and some text.
uint64_t most_body(const Settings& settings);

/// Waits for the end of a sync run, of which nobody else knows. Where its client leaves first, the job is cancelled; where
/// the server ends first, it is cancelled and HttpError 503 is thrown in this form.
Awaitable<void> wait_for_run(ApiContext& context, Exchange& exchange, JobPtr job, Access::Form form);
/// Returns when the job has ended, or after `most`.
Awaitable<void> wait_for_end(Jobs& jobs, const JobPtr& job, std::chrono::milliseconds most);

/// Throws HttpError 400 unless it is empty or an http(s) URL of at most 2048 bytes.
void check_webhook(const std::string& url, Access::Form form);

}  // namespace wan::serve
