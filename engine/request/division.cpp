#include "engine/request/division.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "engine/request/expander_url.h"
#include "engine/request/files.h"
#include "engine/request/geometry.h"
#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/safety.h"
#include "engine/request/schedule.h"
#include "models/files/digest.h"

namespace wan {
namespace {

using nlohmann::json;

constexpr double kMostCost = 10'000'000'000'000;  // of one job: sums of 100,000 stay within 64 bits

/// A path however it is spelled; what is no path as it is.
std::string one_spelling(const std::string& text) {
  if (text.empty() || is_url(text)) return text;
  return std::filesystem::absolute(text).lexically_normal().string();
}

/// The same for parts of a model, which may be names, too.
std::string model_spelling(const std::string& text) {
  return text.empty() || is_bare_name("", text) ? text : one_spelling(text);
}

std::string digest(const json& values) {
  return sha256({values.dump(-1, ' ', false, json::error_handler_t::replace)});
}

json inputs_of(const Request& request) {
  json inputs = json::array();
  for (const std::string& input :
       {request.image_url, request.last_image_url, request.video_url, request.audio_url, request.pose_video_url})
    inputs.push_back(one_spelling(input));
  return inputs;
}

/// What decides which networks are loaded, and in which form.
json model_of(const Request& request) {
  json values = json::array();
  values.push_back(task_name(request.task == Task::V2V ? Task::T2V : request.task));
  for (const std::string& part :
       {request.model, request.models, request.high_noise, request.low_noise, request.transformer, request.text_encoder,
        request.vae, request.audio_encoder, request.tokenizer})
    values.push_back(model_spelling(part));
  for (const std::string& form : {request.device, request.dtype, request.precision, request.weights})
    values.push_back(form);
  return values;
}

json loras_of(const Request& request) {
  json loras = json::array();
  for (const Lora& lora : request.loras) loras.push_back({one_spelling(lora.path), lora.scales, lora.transformer});
  return loras;
}

/// Equal for jobs that are never parted.
std::string unit_of(const Request& request) {
  if (request.enable_prompt_expansion && !request.expander_url.empty())
    return digest({"expansion", task_name(request.task), request.prompt, one_spelling(request.image_url),
                   one_spelling(request.last_image_url), chat_address(request.expander_url), request.expander_model});
  json values = to_json(request);
  // Frames between frames and checks are made of the same steps.
  for (const char* field : kChainFields) values.erase(field);
  for (const char* field : kSafetyFields) values.erase(field);
  for (const Parameter& parameter : parameters()) {
    if (!parameter.path || !values.contains(parameter.name) || !values[parameter.name].is_string()) continue;
    json& value = values[parameter.name];
    value = parameter.named || parameter.part ? model_spelling(value.get<std::string>())
                                              : one_spelling(value.get<std::string>());
  }
  return digest({"equal", values, loras_of(request)});
}

/// What a job may share with others, each as a digest; empty where there is nothing.
struct Shared {
  std::string model, loras, inputs, prompt;
};

Shared shared_by(const Request& request) {
  const json model = model_of(request), inputs = inputs_of(request);
  Shared shared{.model = digest({"model", model}),
                .loras = digest({"loras", model, loras_of(request)}),
                .inputs = {},
                .prompt = digest({"prompt", model, request.prompt})};
  const bool has_inputs = std::any_of(inputs.begin(), inputs.end(),
                                      [](const json& input) { return !input.get_ref<const std::string&>().empty(); });
  if (has_inputs)
    shared.inputs = digest({"inputs", model, inputs, request.resolution, request.aspect_ratio, request.width,
                            request.height, request.num_frames, request.frames_per_second});
  return shared;
}

/// Jobs that stay together.
struct Unit {
  std::vector<size_t> jobs = {};
  int64_t cost = 0;
  Shared shared = {};
  std::array<size_t, 4> place = {};  // of model, LoRAs, inputs and prompt, in the order in which the manifest has them
};

/// The dearest first; of equals those together that share most.
std::vector<Unit> units_of(const std::vector<const Request*>& requests) {
  std::vector<Unit> units;
  std::map<std::string, size_t> known, places;
  const auto place_of = [&](const std::string& what) { return places.try_emplace(what, places.size()).first->second; };
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto [found, is_new] = known.try_emplace(unit_of(*requests[i]), units.size());
    if (is_new) {
      Unit& made = units.emplace_back();
      made.shared = shared_by(*requests[i]);
      made.place = {place_of(made.shared.model), place_of(made.shared.loras), place_of(made.shared.inputs),
                    place_of(made.shared.prompt)};
    }
    Unit& unit = units[found->second];
    unit.jobs.push_back(i);
    unit.cost += cost_of(*requests[i]);
  }
  std::stable_sort(units.begin(), units.end(),
                   [](const Unit& a, const Unit& b) { return a.cost != b.cost ? a.cost > b.cost : a.place < b.place; });
  return units;
}

/// What the shards have so far.
class Loads {
 public:
  /// `most`: up to there a shard is filled with units that share something, in place of the one that has least.
  Loads(int64_t count, int64_t most) : most_(most), loads_(size_t(count), 0) {
    for (int64_t shard = 0; shard < count; ++shard) by_load_.emplace(0, shard);
  }

  /// The shard that takes the unit: the one that last took another with which it shares most, where that has room, else
  /// the one that has least.
  int64_t take(const Unit& unit) {
    const Shared& shared = unit.shared;
    const std::string* const saving[] = {&shared.inputs, &shared.prompt, &shared.loras, &shared.model};
    int64_t shard = by_load_.begin()->second;
    for (const std::string* what : saving)
      if (const auto last = last_.find(*what);
          last != last_.end() && loads_[size_t(last->second)] + unit.cost <= most_) {
        shard = last->second;
        break;
      }
    for (const std::string* what : saving)
      if (!what->empty()) last_[*what] = shard;
    by_load_.erase(std::pair(loads_[size_t(shard)], shard));
    loads_[size_t(shard)] += unit.cost;
    by_load_.emplace(loads_[size_t(shard)], shard);
    return shard;
  }

 private:
  int64_t most_;
  std::vector<int64_t> loads_;
  std::set<std::pair<int64_t, int64_t>> by_load_;  // load and shard: the first has least
  std::map<std::string, int64_t> last_;            // the shard that last took a unit with that
};

}  // namespace

int64_t cost_of(const Request& request) {
  int64_t forwards = 0;
  for (const Step& step : make_schedule(request)) forwards += step.guidance == 1 ? 1 : 2;
  const int64_t pixels = request.width > 0 ? request.width * request.height : area_of(request.resolution);
  const int64_t frames = (request.rendered_frames() - 1) / 4 + 1;
  // As doubles, which hold these numbers exactly: products of what --unlocked allows may exceed 64 bits.
  return int64_t(std::clamp(double(forwards) * double(frames) * double(pixels / (16 * 16)), 1.0, kMostCost));
}

std::vector<int64_t> shards_of(const std::vector<const Request*>& requests, int64_t count) {
  const std::vector<Unit> units = units_of(requests);
  int64_t sum = 0;
  for (const Unit& unit : units) sum += unit.cost;
  std::vector<int64_t> shards(requests.size());
  Loads loads(count, (sum + count - 1) / count);
  for (const Unit& unit : units) {
    const int64_t shard = loads.take(unit);
    for (size_t job : unit.jobs) shards[job] = shard;
  }
  return shards;
}

}  // namespace wan
