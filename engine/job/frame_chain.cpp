#include "engine/job/frame_chain.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace wan {

namespace {

Note slower_sound() {
  return {
      "keep_audio",
      "the picture is slower by the frames that are drawn, and its sound is not: it is kept at its own speed from the "
      "first frame on",
      "--adjust-fps-for-interpolation keeps them together"};
}

constexpr int64_t kMostShown = 120;  // frames a second, of common screens

Note fast_video(const Request& request, Rational rate) {
  return {"num_interpolated_frames",
          "the video has " + rate_text(rate) + " frames a second, and players and screens commonly show at most " +
              std::to_string(kMostShown) + ": they leave the others out, or play it slowly",
          request.task == Task::S2V ? "fewer frames between each two"
                                    : "fewer frames between each two, or --no-adjust-fps-for-interpolation for slow "
                                      "motion"};
}

/// All that is to be told of a request's chain. `from`: the rate in front of it; that of the request where it is not given.
std::vector<Note> chain_notes(const Request& request, bool sound, std::optional<Rational> from = {}) {
  const char *const idle = "it changes nothing: no frames are drawn between others",
                    *const unused = "it is not used: no frames are drawn between others",
                    *const change = "--interpolator-model film or rife draws some";
  const Interpolation how = interpolation_of(request);
  const bool on = how.is_on();
  std::vector<Note> notes;
  const auto add = [&](const char* field, const char* text, const char* way) { notes.push_back({field, text, way}); };
  if (std::optional<Note> note = sound_note(request, sound)) notes.push_back(std::move(*note));
  if (!on && !request.adjust_fps_for_interpolation) add("adjust_fps_for_interpolation", idle, change);
  if (!on && how.model != "rife" && how.direct) add("interpolation_times", idle, change);
  if (!on && !request.interpolator.empty()) add("interpolator", unused, change);
  if (on && how.model == "rife" && !how.direct)
    add("interpolation_times", "it changes nothing: RIFE draws every time directly, and midpoints are FILM's alone",
        "--interpolation-times direct is what RIFE does");
  const Rational rate = how.rate(from.value_or(Rational{request.frames_per_second, 1}));
  if (on && how.keeps_duration && Rational{kMostShown, 1} < rate) notes.push_back(fast_video(request, rate));
  if (on && request.num_frames == 1)
    add("num_interpolated_frames", "nothing is drawn: the video has one frame, and there is none after it", "");
  return notes;
}

}  // namespace

FrameChain chain_of(const Request& request, const InterpolatorPart& interpolator, const Placement& placement) {
  return {interpolation_of(request), interpolator, placement, quality_check_of(request) != QualityCheck::Off};
}

DrawingDetails details_of(const FrameChain& chain, int64_t height, int64_t width) {
  return chain.how.is_on() ? drawing_details(chain.interpolator, chain.placement, height, width) : DrawingDetails();
}

std::optional<Note> sound_note(const Request& request, bool sound) {
  const Interpolation how = interpolation_of(request);
  if (!how.is_on() || how.keeps_duration || !sound) return std::nullopt;
  return slower_sound();
}

void note_chain(const Request& request, bool sound, Notes& notes, std::optional<Rational> rate) {
  for (Note& note : chain_notes(request, sound, rate)) notes.add(std::move(note));
}

void set_chain(Record& record, const Request& request, const std::vector<FileIdentity>& files, bool sound) {
  const auto is_of_chain = [](const FileIdentity& file) { return file.part == kInterpolatorPart; };
  copy_chain(request, record.request);
  std::erase_if(record.files, is_of_chain);
  std::vector<FileIdentity> own;
  std::copy_if(files.begin(), files.end(), std::back_inserter(own), is_of_chain);
  record.files = joined(std::move(record.files), own);
  std::erase_if(record.notes, [](const Note& note) {
    return note == slower_sound() ||
           std::ranges::any_of(kChainFields, [&](const char* field) { return note.subject == field; });
  });
  for (Note& note : chain_notes(request, sound)) record.notes.push_back(std::move(note));
}

void set_safety(Record& record, const Request& request, const std::vector<FileIdentity>& files) {
  copy_safety(request, record.request);
  const auto is_checker = [](const FileIdentity& file) { return file.part == kSafetyPart; };
  std::erase_if(record.files, is_checker);
  std::vector<FileIdentity> own;
  std::copy_if(files.begin(), files.end(), std::back_inserter(own), is_checker);
  record.files = joined(std::move(record.files), own);
}

void log_safety(const SafetyRecord& said, const Log& log) {
  if (!said.is_there()) return;
  Log::Fields fields = {{"action", said.action}, {"flagged", said.flagged()}};
  for (const auto& [field, finding] : said.inputs)
    if (finding.frames > 0) fields[field] = finding.score;
  if (said.output) fields["output"] = said.output->score, fields["frame"] = said.output->frame;
  if (!said.checker.empty()) fields["threshold"] = said.threshold;
  log("safety", fields);
}

RunningChain::RunningChain(const FrameChain& chain, int64_t frames, int64_t height, int64_t width, const Log& log)
    : how_(chain.how), watch_(chain.safety, chain.placement, frames) {
  if (!how_.is_on()) return;
  if (!chain.interpolator.is_there()) throw std::logic_error("[RunningChain] has no interpolator's file");
  interpolator_.emplace(chain.interpolator, chain.placement, height, width, log);
  step_.emplace(how_, &interpolator_->network());
  thread_.emplace(*step_, chain.placement.device);
}

std::vector<FrameStep*> RunningChain::steps() {
  std::vector<FrameStep*> steps;
  if (FrameStep* step = watch_.step()) steps.push_back(step);
  if (thread_) steps.push_back(&*thread_);
  return steps;
}

void RunningChain::tell(const Log& log) const {
  if (step_) log_pairs(how_, step_->counts(), log);
}

void log_pairs(const Interpolation& how, const PairCounts& counts, const Log& log) {
  log("interpolation", {{"model", how.model},
                        {"between", how.between},
                        {"pairs", counts.pairs},
                        {"still", counts.still},
                        {"cuts", counts.cuts}});
}

}  // namespace wan
