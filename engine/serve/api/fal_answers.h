// Jobs as the queue and the results of fal tell them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/serve/net/exchange.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

/// Where a job's queue calls go: "B/queue/fal-ai/wan/requests/ID", without /queue where the Host is one of a queue.
std::string request_url(const Exchange& exchange, const std::string& id);
/// Whether the request was sent to a host that is a queue by its name: "queue.localhost".
bool is_queue_host(const Exchange& exchange);

/// The answer to a submit.
nlohmann::ordered_json submitted_json(const LiveJob& job, int64_t position, const std::string& url);
/// The status; `logs` null where none are asked for.
nlohmann::ordered_json status_json(const LiveJob& job, int64_t position, const std::string& url,
                                   const std::string& base_url, const nlohmann::ordered_json& logs);
/// The entries from `first` on.
nlohmann::ordered_json logs_json(const LiveJob& job, size_t first = 0);
/// What a finished job gives: the video, and where the endpoint has them prompt and seed.
nlohmann::ordered_json output_json(const Job& job, const std::string& base_url);
/// The answer of a result call.
Answer result_answer(const Job& job, const std::string& base_url);
/// The same of a sync run: where its workers died it has 500 in place of 503, after which the JavaScript client would
/// send the request again, that is, a new job of the kind that ends workers.
Answer run_answer(const Job& job, const std::string& base_url);

/// The message to a job's webhook, in the form and with the URLs that its request had.
std::string webhook_body(const Job& job);

}  // namespace wan::serve
