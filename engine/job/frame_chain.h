// What the frames of a job go through between its VAE, or its input, and the encoder.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/note.h"
#include "engine/frames/interpolate.h"
#include "engine/frames/open_interpolator.h"
#include "engine/frames/step_thread.h"
#include "engine/job/output_safety.h"
#include "engine/job/record.h"
#include "engine/request/interpolation.h"
#include "engine/residency/device.h"

namespace wan {

/// The chain of a request, and what it works with. Without an interpolator frames go to the encoder as they are.
struct FrameChain {
  Interpolation how = {};
  InterpolatorPart interpolator = {};  // there where `how` is on
  Placement placement = {};
  bool measures = false;     // the frames that it begins with (QualityStep)
  OutputSafety safety = {};  // looks at frames before others are drawn between them
};
/// Of frames of this size, from headers alone; empty where none are drawn. Throws ModelError.
DrawingDetails details_of(const FrameChain& chain, int64_t height, int64_t width);
FrameChain chain_of(const Request& request, const InterpolatorPart& interpolator, const Placement& placement);

/// What becomes of the sound where the rate stays, and the picture is slower; nothing elsewhere. `sound`: whether there is
/// one.
std::optional<Note> sound_note(const Request& request, bool sound);
/// All that is to be told of a request's chain. `rate`: of the frames that it begins with, where that is not the request's.
void note_chain(const Request& request, bool sound, Notes& notes, std::optional<Rational> rate = {});

/// Gives the record of latents the chain of `request`, in place of the one that it was made with: latents are the same
/// whatever the chain. The interpolator's file is among `files`.
void set_chain(Record& record, const Request& request, const std::vector<FileIdentity>& files, bool sound);

/// The chain at work on frames of one size: its steps for a FrameStream. Its last thread goes first, so it is made after
/// all that is behind the chain.
class RunningChain {
 public:
  /// Of `frames` frames. Loads the interpolator and the safety checker where there are such to be; errors as
  /// OpenInterpolator's and OutputWatch's. `chain` must outlive it.
  RunningChain(const FrameChain& chain, int64_t frames, int64_t height, int64_t width, const Log& log);

  std::vector<FrameStep*> steps();
  /// After the stream has ended: tells the log what came of the pairs.
  void tell(const Log& log) const;
  /// The same: what was said of the job's inputs and of its frames.
  SafetyRecord verdict() const { return watch_.verdict(); }

 private:
  const Interpolation how_;
  OutputWatch watch_;
  std::optional<OpenInterpolator> interpolator_;
  std::optional<InterpolateStep> step_;
  std::optional<StepThread> thread_;  // last: it ends before what it uses goes
};

/// Gives a record what `request` says of its checks, in place of what it was made with. The checker's files are among
/// `files`.
void set_safety(Record& record, const Request& request, const std::vector<FileIdentity>& files);

/// One line of the log about what was said of a job; none where nothing was looked at.
void log_safety(const SafetyRecord& said, const Log& log);

/// One line of the log about the frames that were drawn: pairs, and how many of them stood still or were cut.
void log_pairs(const Interpolation& how, const PairCounts& counts, const Log& log);

}  // namespace wan
