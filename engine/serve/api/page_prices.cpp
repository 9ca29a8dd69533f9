#include <cmath>

#include "engine/request/params.h"
#include "engine/serve/api/page.h"

namespace wan::serve {
namespace {

constexpr const char* kResolutions[] = {"480p", "580p", "720p"};

}  // namespace

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

std::optional<double> hosted_cost(const Job& job, const nlohmann::ordered_json& prices) {
  // Frames and resolution as they were asked for, or their defaults, stand in the fields that the job is made of.
  const auto resolution = job.fields.find("resolution"), frames = job.fields.find("num_frames");
  if (resolution == job.fields.end() || !resolution->is_string() || frames == job.fields.end() || !frames->is_number())
    return {};
  for (const nlohmann::ordered_json& row : prices) {
    if (row.at("endpoint") != job.endpoint) continue;
    const auto rate = row.find(resolution->get_ref<const std::string&>());
    if (rate == row.end() || !rate->is_number()) return {};
    return rate->get<double>() * frames->get<double>() / 16;
  }
  return {};
}

}  // namespace wan::serve
