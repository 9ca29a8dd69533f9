#include "engine/residency/model_reuse.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "engine/base/error.h"
#include "engine/request/params.h"
#include "engine/residency/distilled.h"
#include "engine/residency/open_network.h"
#include "models/files/error.h"

namespace wan {

namespace {

std::string hex(const WeightsSum& sum) {
  std::string text;
  for (const uint64_t part : sum.parts) {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016" PRIx64, part);
    text += digits;
  }
  return text;
}

}  // namespace

ReuseModel reuse_model(const Request& request, const ModelParts& parts) {
  if (request.acceleration != "regular") return {};
  const WanConfig config = transformer_config(parts);
  return {.distilled = is_distilled(request, parts),
          .published = config.dim == kWanT2vA14b.dim && config.num_layers == kWanT2vA14b.num_layers};
}

StepReuse step_reuse(const Request& request, const ModelParts& parts) {
  return step_reuse(request, make_schedule(request), reuse_model(request, parts));
}

std::vector<CalibratedNetwork> calibrated_networks(const ModelParts& parts, const std::vector<FileIdentity>& files) {
  std::vector<CalibratedNetwork> networks;
  for (Network network : {Network::HighNoise, Network::LowNoise, Network::Speech}) {
    const auto part = parts.networks.find(network);
    if (part == parts.networks.end()) continue;
    WeightsSum sum;
    for (const FileIdentity& file : files)
      if (file.part == field_of(network)) sum.add(file.weights);
    networks.push_back({field_of(network), part->second.name, hex(sum)});
  }
  return networks;
}

void check_calibration(const Request& request, const ModelParts& parts, const std::vector<FileIdentity>& files) {
  if (request.acceleration != "regular" || request.calibration.empty()) return;
  const Calibration calibration = read_calibration(request.calibration);
  check_task(calibration, request.task);  // another task has other weights, too
  for (const CalibratedNetwork& here : calibrated_networks(parts, files)) {
    const auto is_it = [&](const CalibratedNetwork& had) { return had.part == here.part; };
    const auto had = std::ranges::find_if(calibration.networks, is_it);
    if (had != calibration.networks.end() && had->weights == here.weights) continue;
    const std::string of = had == calibration.networks.end() ? "none" : had->name;
    const std::string names =
        of == here.name ? "" : " (" + shown_text(of, 120) + ", here " + shown_text(here.name, 120) + ")";
    throw InvalidRequest("calibration", "must be measured on this model, and " + calibration.source +
                                            " is of other weights as " + here.part + names + "; wan-infer calibrate " +
                                            task_name(request.task) + " measures this one");
  }
}

void note_reuse(const StepReuse& reuse, Notes& notes) {
  if (!reuse.nothing.empty()) notes.add({"acceleration", "regular reuses nothing: " + reuse.nothing, reuse.way_out});
  for (const Note& note : reuse.notes) notes.add(note);
}

uint64_t kept_bytes(const StepReuse& reuse, int64_t tokens, int64_t dim, uint64_t element) {
  return uint64_t(reuse.kept()) * uint64_t(tokens) * uint64_t(dim) * element;
}

}  // namespace wan
