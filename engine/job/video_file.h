// The file of a job whose latents are sampled at once: decoded, encoded and written as the frames come.
#pragma once

#include <optional>
#include <string>

#include "engine/frames/decode.h"
#include "engine/job/frame_chain.h"
#include "engine/job/latents.h"
#include "engine/job/task.h"
#include "engine/media/stream_times.h"

namespace wan {

/// What is made beside the video itself.
struct OutputOptions {
  std::string contact_sheet = {};   // PNG of some frames; empty: none
  std::string captured_heads = {};  // safetensors with queries and keys (engine/sampling/captured_heads.h); empty: none
  std::string preview = {};         // PNG or JPEG, replaced while steps are made (PreviewFile); empty: none
};

/// Decodes latents and encodes the frames as they come, exactly `saved.frames` of them, to `out`. Its record has the
/// attention of `saved`, and what the decoding used on the networks' Context, of which the caller pins the choices;
/// where both name a case, what was used. `chain`: what they go through on the way, that of the record's request; the file
/// then has as many frames, at its rate, as the chain makes of them. Where the chain measures, the record in the file
/// has the quality.
/// What the chain's safety checks say of the frames is in the record and is returned; it decides what becomes of the file
/// (place_video). Throws SafetyRefusal.
VideoFindings write_video(Networks& networks, const SavedLatents& saved, const std::string& out,
                          const OutputOptions& options, const Run& run, const FrameChain& chain = {});

/// Video to video at a strength that keeps no step: the endpoint defines the result as the input, at the output's
/// geometry. The same of safety checks. `progress` may be null.
VideoFindings write_input(const Record& record, const Inputs& inputs, const std::string& out,
                          const OutputOptions& options, const FrameChain& chain = {}, const Log& log = {},
                          Progress* progress = nullptr);

/// Adds to `quality` when picture and sound of its file begin and end. `delay`: how much later than the picture its
/// sound is meant to begin, in seconds.
void add_times(QualityNumbers& quality, const StreamTimes& times, double delay = 0);

/// The contact sheet of a video that is there, of `frames` frames.
void write_sheet(const std::string& path, const std::string& video, int64_t frames);

}  // namespace wan
