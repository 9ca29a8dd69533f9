// What looks at the frames of a job's video, and what becomes of the file whose frames are flagged.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "engine/frames/safety.h"
#include "engine/media/writer.h"
#include "engine/request/safety.h"
#include "engine/residency/identity.h"
#include "engine/residency/parts.h"
#include "engine/residency/safety_network.h"

namespace wan {

/// The safety checker of jobs, its files as they were identified, and the network on the CPU, where inputs are looked at; no
/// folder where a job looks at no pictures.
struct UsedSafety {
  ModelPart part;
  ModelParts parts;  // has it alone
  std::vector<FileIdentity> files;
  std::shared_ptr<const SafetyNetwork> network;

  bool is_there() const { return network != nullptr; }
};

/// Identifies the files, opens them and looks whether they are whole: all weights are read. `on_cpu`: its Context counts.
/// Throws ModelError.
std::shared_ptr<const UsedSafety> open_safety(const ModelPart& part, const Placement& on_cpu);
/// The CPU, whatever the request's device. `contexts` may be null.
Placement cpu_placement(const Request& request, Contexts* contexts);

/// What is done about a job's video.
struct OutputSafety {
  SafetyRule rule = {};
  std::shared_ptr<const UsedSafety> used = {};  // null: as one that is not there
  SafetyRecord said = {};                       // of the job's inputs
  std::string named_after = {};                 // path that a refused video is called after; empty: its own

  bool watches() const { return rule.output && used && used->is_there(); }
};
/// `said` may be of another run: the action is the request's.
OutputSafety output_safety(const Request& request, std::shared_ptr<const UsedSafety> used, SafetyRecord said);

/// How many frames are looked at of `frames`: kSafetyFrames, and of more than 96 every twelfth.
int64_t looked_frames(int64_t frames);
/// The largest score and its frame, as records have them.
SafetyFinding finding_of(const SafetyVerdict& verdict);
/// Names the checker and its threshold in a record.
void set_checker(SafetyRecord& record, const SafetyNetwork& network, const SafetyRule& rule);

/// Looks at the frames that the model made, on the job's device: its weights are there as long as this.
class OutputWatch {
 public:
  /// Of `frames` frames. Where the output is not looked at it has no step. Throws ModelError where a file is another than
  /// it was; c10::OutOfMemoryError where the budget has no room.
  OutputWatch(const OutputSafety& safety, const Placement& placement, int64_t frames);

  /// Null: nothing is looked at.
  FrameStep* step() { return step_ ? &*step_ : nullptr; }
  /// After the stream has ended: what was said of inputs and output.
  SafetyRecord verdict() const;

 private:
  const OutputSafety& safety_;
  std::shared_ptr<const SafetyNetwork> network_;
  std::optional<SafetyCheck> check_;
  std::optional<SafetyStep> step_;
};

/// Puts a whole video that is not in its place yet where it belongs. `finish` puts it under the path that it is given; where
/// it is not called the video goes. Flagged frames with `refuse`: the file is `out`, or OutputSafety::named_after, with
/// .refused before its ending, or goes, and SafetyRefusal is thrown. With `blur`, also where an input was flagged:
/// `finish` is given a passing place, from which the frames are read, blurred and written to `out` in `format`, with its
/// sound. Else it is `out`. Returns whether it was blurred. `progress` may be null; it is asked between frames of the
/// second pass. What a killed run left at the passing place goes.
bool place_video(const std::string& out, const OutputSafety& safety, const SafetyRecord& said, VideoFormat format,
                 const std::function<void(const std::string& path)>& finish, Progress* progress,
                 const std::string& label = "");

/// "a/b.refused.mp4", or with a number where that is taken.
std::string refused_name(const std::string& out);

}  // namespace wan
