// The page at /, and what it asks of the server beside the fal calls. Everything but its files and the session wants a
// caller.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/serve/api/context.h"

namespace wan::serve {

/// GET / and /page/...: the page's files, session, set-up, jobs, events, prices and savings.
void add_page_routes(Router& router, ApiContext& context);

/// A file of the page as it was built in; empty where there is none.
std::string_view page_file(std::string_view name);

/// What the page is told of a job: its state, figures, the addresses of its files, and where `prices` tell it what its
/// video would have cost.
nlohmann::ordered_json page_job(const LiveJob& job, const Jobs& jobs, const Dispatcher& dispatcher,
                                const nlohmann::ordered_json& prices);

/// Prices of the hosted endpoints in US dollars for a second of video at 16 frames a second, by resolution; null where
/// their pages state none.
nlohmann::ordered_json hosted_prices();
/// `given` as prices: an array of objects with "endpoint" and numbers from 0 or null. Throws HttpError 422.
nlohmann::ordered_json checked_prices(const nlohmann::json& given);
/// What the videos would have cost; nothing where their price or their length is not known.
std::optional<double> hosted_cost(const MadeVideos& made, const nlohmann::ordered_json& prices);
/// The same of one job; nothing where it has no video.
std::optional<double> hosted_cost(const Job& job, const nlohmann::ordered_json& prices);

}  // namespace wan::serve
