#include "engine/job/output_safety.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "engine/base/text.h"
#include "engine/frames/blur.h"
#include "engine/frames/writing_thread.h"
#include "engine/job/outputs.h"
#include "engine/media/video_reader.h"
#include "engine/residency/unchanged.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// A file that goes with this.
struct PassingFile {
  std::string path;
  ~PassingFile() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

void blur_video(const std::string& from, const std::string& out, VideoFormat format, Progress* progress,
                const std::string& label) {
  VideoReader reader({from, "out"});
  format.audio.reset();
  format.audio_from = reader.info().has_audio ? from : "";
  WritingThread writer(out, format);
  int64_t read = 0;
  const int64_t all = reader.info().frames;
  while (std::optional<VideoFrame> frame = reader.next()) {
    if (progress) progress->at({Stage::Write, read, std::max(all, read + 1), "", label});
    writer.write(blurred(frame->rgb.unsqueeze(0)));
    ++read;
  }
  writer.finish();
}

[[noreturn]] void refuse(const std::string& kept, const SafetyRecord& said) {
  const std::string wrong = "must not show what the safety checker flags: " + safety_text(*said.output, said.threshold);
  const std::string way =
      kept.empty() ? "the video was removed (--discard)"
                   : "the video lies in " + shown_path(kept) +
                         ", and what it was made of is kept: the same command "
                         "with --safety-action flag or blur, or another --safety-threshold, makes the file of it";
  throw SafetyRefusal("out", wrong, way, said, kept);
}

}  // namespace

Placement cpu_placement(const Request& request, Contexts* contexts) {
  Request on_cpu = request;
  on_cpu.device = on_cpu.noise_device = "cpu";
  on_cpu.dtype = "float32";
  on_cpu.device_memory.clear();
  Placement placement = resolve_placement(on_cpu, contexts);
  placement.budget = nullptr;
  return placement;
}

std::shared_ptr<const UsedSafety> open_safety(const ModelPart& part, const Placement& on_cpu) {
  auto used = std::make_shared<UsedSafety>();
  used->part = used->parts.safety_checker = part;
  IdentityCache cache;
  const std::vector<PartFile> files = used->parts.files();
  used->files = identify(files, cache);
  remember(used->parts, files, used->files);
  used->network = std::make_shared<const SafetyNetwork>(find_safety_checker(part.path), on_cpu);
  check_unchanged(used->parts, kSafetyPart);
  return used;
}

OutputSafety output_safety(const Request& request, std::shared_ptr<const UsedSafety> used, SafetyRecord said) {
  if (said.is_there()) said.action = request.safety_action;
  return {.rule = safety_rule(request), .used = std::move(used), .said = std::move(said)};
}

int64_t looked_frames(int64_t frames) {
  return std::max<int64_t>(kSafetyFrames, (frames + kSafetyApart - 1) / kSafetyApart);
}

SafetyFinding finding_of(const SafetyVerdict& verdict) {
  constexpr double kPlaces = 1e6;  // sums in another order differ behind them
  return {.flagged = verdict.flagged,
          .score = std::round(verdict.score * kPlaces) / kPlaces,
          .found = verdict.found,
          .frame = verdict.worst,
          .frames = verdict.pictures};
}

void set_checker(SafetyRecord& record, const SafetyNetwork& network, const SafetyRule& rule) {
  record.checker = safety::name_of(network.checker().config());
  record.threshold = rule.threshold.value_or(network.checker().threshold());
}

OutputWatch::OutputWatch(const OutputSafety& safety, const Placement& placement, int64_t frames) : safety_(safety) {
  if (!safety.watches()) return;
  check_unchanged(safety.used->parts, kSafetyPart);
  network_ = placement.device.is_cpu()
                 ? safety.used->network
                 : std::make_shared<const SafetyNetwork>(find_safety_checker(safety.used->part.path), placement);
  check_.emplace(*network_, safety.rule.threshold);
  step_.emplace(*check_, frames, looked_frames(frames));
}

SafetyRecord OutputWatch::verdict() const {
  SafetyRecord said = safety_.said;
  if (!check_) return said;
  said.output = finding_of(check_->verdict());
  set_checker(said, *network_, safety_.rule);
  said.action = safety_.rule.action == SafetyAction::Refuse ? "refuse"
                : safety_.rule.action == SafetyAction::Blur ? "blur"
                                                            : "flag";
  return said;
}

std::string refused_name(const std::string& out) {
  const fs::path path = out;
  return free_name((path.parent_path() / (path.stem().string() + ".refused" + path.extension().string())).string());
}

bool place_video(const std::string& out, const OutputSafety& safety, const SafetyRecord& said, VideoFormat format,
                 const std::function<void(const std::string& path)>& finish, Progress* progress,
                 const std::string& label) {
  const PassingFile whole{out + ".unblurred.part"};
  const bool shown = said.output && said.output->flagged;
  if (shown && safety.rule.action == SafetyAction::Refuse) {
    const std::string kept =
        safety.rule.discard ? "" : refused_name(safety.named_after.empty() ? out : safety.named_after);
    if (!kept.empty()) finish(kept);
    refuse(kept, said);
  }
  if (!said.flagged() || safety.rule.action != SafetyAction::Blur) {
    finish(out);
    return false;
  }
  finish(whole.path);
  blur_video(whole.path, out, std::move(format), progress, label);
  return true;
}

}  // namespace wan
