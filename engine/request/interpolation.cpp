#include "engine/request/interpolation.h"

#include "engine/base/text.h"

namespace wan {
namespace {

std::string run_text(const FrameRun& run, bool known) {
  const std::string rate = rate_text(run.rate) + " fps";
  if (!known) return rate;
  return std::to_string(run.frames) + (run.frames == 1 ? " frame at " : " frames at ") + rate + ", " +
         decimals(run.seconds()) + " s";
}

nlohmann::ordered_json run_json(const std::string& step, const FrameRun& run, bool known) {
  nlohmann::ordered_json json = {{"step", step}};
  if (known) json["frames"] = run.frames;
  json["rate"] = rate_text(run.rate);
  if (known) json["seconds"] = run.seconds();
  return json;
}

}  // namespace

Rational Interpolation::rate(Rational of) const {
  if (!is_on() || !keeps_duration) return of;
  return Rational{of.numerator * (between + 1), of.denominator}.reduced();
}

Interpolation interpolation_of(const Request& request) {
  return {.model = request.interpolator_model.empty() ? "none" : request.interpolator_model,
          .between = request.num_interpolated_frames,
          .keeps_duration = request.adjust_fps_for_interpolation,
          .direct = request.interpolation_times == "direct"};
}

void copy_chain(const Request& from, Request& to) {
  to.interpolator_model = from.interpolator_model;
  to.interpolator = from.interpolator;
  to.num_interpolated_frames = from.num_interpolated_frames;
  to.adjust_fps_for_interpolation = from.adjust_fps_for_interpolation;
  to.interpolation_times = from.interpolation_times;
}

std::string chain_text(const Interpolation& how, const FrameRun& from, bool known) {
  if (!how.is_on()) return "";
  return how.model + ", " + std::to_string(how.between) + (how.between == 1 ? " frame" : " frames") +
         " between each two: " + run_text(from, known) + " -> " + run_text(how.of(from), known) +
         (how.keeps_duration ? "" : ", slower by the frames that are drawn");
}

nlohmann::ordered_json chain_json(const Interpolation& how, const FrameRun& from, bool known,
                                  const DrawingDetails& details) {
  nlohmann::ordered_json chain = nlohmann::ordered_json::array({run_json("generate", from, known)});
  if (!how.is_on()) return chain;
  chain.push_back(run_json(how.model, how.of(from), known));
  chain.back()["between"] = how.between;
  if (how.model == "film" && how.between > 1) chain.back()["times"] = how.direct ? "direct" : "midpoints";
  if (!details.version.empty()) chain.back()["version"] = details.version;
  if (!details.tiles.empty()) chain.back()["tiles"] = details.tiles;
  return chain;
}

std::string rate_text(Rational rate) {
  const Rational least = rate.reduced();
  return std::to_string(least.numerator) + (least.denominator == 1 ? "" : "/" + std::to_string(least.denominator));
}

}  // namespace wan
