// Finishing: frames drawn into a video that is there, whoever made it.
#pragma once

#include <string>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/job/video_file.h"
#include "engine/request/request.h"

namespace wan {

/// Draws frames into the video that `request`, one of video to video, names as its input, and writes `out`: any length in
/// the memory of a few frames. Frames are those of the file, at the rate that it states, or at which most of them follow
/// each other where that is another one; where times vary, each slot has the frame that is nearest; notes say both. Of an
/// odd side the last row or column is left out. The sound is kept as video to video keeps it, and a note says how much of it
/// lies after the picture. Where the input has metadata of wan-infer it is carried on, with what was done here added to its
/// "finish", notes among it. Where the request draws none, frames and rate stay. Progress is not asked once the file is in
/// its place. Throws InvalidRequest naming the field, "IN" for the input, ModelError, Cancelled; NotFinite; c10::Error and
/// std::runtime_error where the machine refuses. `out` then stays as it was.
void finish_video(const Request& request, const std::string& out, const FrameChain& chain, const OutputOptions& options,
                  const Log& log, Progress& progress);

}  // namespace wan
