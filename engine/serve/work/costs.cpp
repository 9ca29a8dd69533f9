#include "engine/serve/work/costs.h"

#include <cmath>

namespace wan::serve {
namespace {

using nlohmann::json;

constexpr double kNew = 0.3;         // weight of the newest job
constexpr size_t kMostSizes = 4096;  // what clients may ask for is bounded, sizes of their own are many

double number(const json& fields, const char* name, double absent) {
  const auto found = fields.is_object() ? fields.find(name) : fields.end();
  return found != fields.end() && found->is_number() ? found->get<double>() : absent;
}

/// Steps times frames; nothing where the length is not known.
std::optional<double> work_of(const Job& job) {
  constexpr double kSteps = 27, kFrames = 81;
  const bool speaks = job.fields.is_object() && job.fields.value("task", "") == "s2v";
  if (speaks && !job.fields.contains("num_frames")) return std::nullopt;
  const double work = number(job.fields, "num_inference_steps", kSteps) * number(job.fields, "num_frames", kFrames);
  return std::isfinite(work) && work > 0 ? std::optional(work) : std::nullopt;
}

/// The values of these fields as one text.
std::string text_of(const json& fields, std::initializer_list<const char*> names) {
  json values = json::array();
  for (const char* name : names) values.push_back(fields.is_object() ? fields.value(name, json()) : json());
  return values.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string size_key(const Job& job) {
  return job.endpoint + text_of(job.fields, {"resolution", "aspect_ratio", "width", "height", "precision",
                                             "acceleration", "num_frames"});
}

}  // namespace

void Costs::add(const Job& job, double seconds) {
  const std::optional<double> work = work_of(job);
  if (!std::isfinite(seconds) || seconds <= 0) return;
  mean_ = mean_ ? *mean_ + kNew * (seconds - *mean_) : seconds;
  if (!work) return;
  if (by_size_.size() >= kMostSizes) by_size_.clear();
  const auto [known, is_first] = by_size_.try_emplace(size_key(job), seconds / *work);
  if (!is_first) known->second += kNew * (seconds / *work - known->second);
}

std::optional<double> Costs::seconds(const Job& job) const {
  const auto known = by_size_.find(size_key(job));
  const std::optional<double> work = work_of(job);
  return work && known != by_size_.end() ? std::optional(known->second * *work) : std::nullopt;
}

std::string model_key(const Job& job) {
  return text_of(job.fields,
                 {"model", "models", "high_noise", "low_noise", "transformer", "text_encoder", "vae", "audio_encoder",
                  "tokenizer", "precision", "weights", "dtype", "device_memory", "cache_dir"});
}

}  // namespace wan::serve
