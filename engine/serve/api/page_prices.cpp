// What videos would have cost at the hosted endpoints.
#include <cmath>
#include <memory>

#include "engine/serve/api/page.h"
#include "engine/serve/api/page_parts.h"
#include "engine/serve/queue/job_json.h"
#include "models/files/atomic_file.h"
#include "models/files/json.h"
#include "models/files/mapped_file.h"

namespace wan::serve {
namespace {

constexpr const char* kResolutions[] = {"480p", "580p", "720p"};

Awaitable<Answer> savings(Exchange& exchange, ApiContext& context, std::shared_ptr<const Prices> prices) {
  const std::optional<std::string> owner = context.access.caller(exchange).owner();
  std::function<std::vector<MadeVideos>(Store&)> question = [owner](Store& store) { return store.made_videos(owner); };
  const std::vector<MadeVideos> made = co_await context.jobs.ask(std::move(question));
  int64_t videos = 0, unknown = 0;
  double dollars = 0;
  for (const MadeVideos& one : made) {
    const std::optional<double> cost = hosted_cost(one, prices->get());
    videos += one.videos;
    if (!cost) unknown += one.videos;
    dollars += cost.value_or(0);
  }
  co_return json_answer({{"videos", videos}, {"dollars", dollars}, {"unknown", unknown}});
}

Awaitable<Answer> keep_prices(Exchange& exchange, ApiContext& context, std::shared_ptr<Prices> prices) {
  if (!context.access.caller(exchange).admin)
    throw HttpError(json_answer({{"detail", "Prices are kept by an admin key."}, {"error_type", "auth_error"}}, 403));
  const nlohmann::json body = co_await page_body(exchange);
  prices->keep(checked_prices(body.is_object() && body.contains("prices") ? body["prices"] : nlohmann::json()));
  co_return no_content();
}

}  // namespace

Prices::Prices(std::filesystem::path file) : file_(std::move(file)) {
  prices_ = hosted_prices();
  std::error_code absent;
  if (!std::filesystem::exists(file_, absent)) return;
  try {
    prices_ = checked_prices(read_json(*MappedFile::open(file_)));
  } catch (const std::exception&) {
    // A file that somebody damaged: the hosted prices, until others are kept.
  }
}

void Prices::keep(nlohmann::ordered_json prices) {
  const std::string text = prices.dump(2) + "\n";
  AtomicFile file(file_.string());
  file.write(text.data(), text.size());
  file.commit();
  prices_ = std::move(prices);
}

// The endpoints' pages, 2025: text and image to video state no price; the speech of WaveSpeed is 0.15 for 5 seconds.
nlohmann::ordered_json hosted_prices() {
  const auto row = [](const char* endpoint, nlohmann::ordered_json small, nlohmann::ordered_json middle,
                      nlohmann::ordered_json large) {
    return nlohmann::ordered_json{
        {"endpoint", endpoint}, {"480p", std::move(small)}, {"580p", std::move(middle)}, {"720p", std::move(large)}};
  };
  return nlohmann::ordered_json::array({row("fal-ai/wan/v2.2-a14b/text-to-video", nullptr, nullptr, nullptr),
                                        row("fal-ai/wan/v2.2-a14b/image-to-video", nullptr, nullptr, nullptr),
                                        row("fal-ai/wan/v2.2-a14b/video-to-video", 0.04, 0.06, 0.08),
                                        row("fal-ai/wan/v2.2-14b/speech-to-video", 0.10, 0.15, 0.20),
                                        row("wavespeed-ai/wan-2.2/speech-to-video", 0.03, nullptr, nullptr)});
}

nlohmann::ordered_json checked_prices(const nlohmann::json& given) {
  const auto refuse = [](const std::string& wrong) {
    throw HttpError(json_answer({{"detail", "[prices] " + wrong}, {"error_type", "bad_request"}}, 422));
  };
  if (!given.is_array() || given.size() > 64) refuse("must be an array of at most 64 rows");
  nlohmann::ordered_json prices = nlohmann::ordered_json::array();
  for (const nlohmann::json& one : given) {
    const auto endpoint = one.is_object() ? one.find("endpoint") : one.end();
    if (!one.is_object() || endpoint == one.end() || !endpoint->is_string() ||
        endpoint->get_ref<const std::string&>().size() > 200)
      refuse("must have a text 'endpoint' in each row");
    nlohmann::ordered_json row = {{"endpoint", *endpoint}};
    for (const char* resolution : kResolutions) {
      const auto price = one.find(resolution);
      if (price == one.end() || price->is_null()) {
        row[resolution] = nullptr;
        continue;
      }
      if (!price->is_number() || !std::isfinite(price->get<double>()) || price->get<double>() < 0)
        refuse("must have numbers from 0 or null as prices, got " + price->dump() + " for " + resolution);
      row[resolution] = price->get<double>();
    }
    prices.push_back(std::move(row));
  }
  return prices;
}

std::optional<double> hosted_cost(const MadeVideos& made, const nlohmann::ordered_json& prices) {
  if (!made.frames) return {};
  for (const nlohmann::ordered_json& row : prices) {
    if (row.at("endpoint") != made.endpoint) continue;
    const auto rate = row.find(made.resolution);
    if (rate == row.end() || !rate->is_number()) return {};
    return rate->get<double>() * *made.frames / 16;
  }
  return {};
}

std::optional<double> hosted_cost(const Job& job, const nlohmann::ordered_json& prices) {
  if (!job.output) return {};
  return hosted_cost(MadeVideos{.endpoint = job.endpoint,
                                .resolution = priced_resolution(job).value_or(""),
                                .videos = 1,
                                .frames = priced_frames(job)},
                     prices);
}

void add_price_routes(Router& router, ApiContext& context, std::shared_ptr<Prices> prices) {
  router.add("GET", "/page/prices", [&context, prices](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    context.access.caller(exchange);
    co_return json_answer({{"prices", prices->get()}});
  });
  router.add("PUT", "/page/prices", [&context, prices](Exchange& exchange, const Captures&) {
    return keep_prices(exchange, context, prices);
  });
  router.add("GET", "/page/savings",
             [&context, prices](Exchange& exchange, const Captures&) { return savings(exchange, context, prices); });
}

}  // namespace wan::serve
