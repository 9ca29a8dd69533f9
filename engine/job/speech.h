// Speech to video: from a picture and a sound of any length to a video, clip after clip.
#pragma once

#include <filesystem>

#include "engine/job/job.h"
#include "engine/speech/chain.h"

namespace wan {

/// Which clips a sound of this length gives, and what the file shows of them.
struct SpeechPlan {
  std::vector<Clip> clips;
  std::vector<int64_t> features;  // for each video frame of all clips the index of its feature at 30 a second
  int64_t frames;                 // of the file
  double seconds;                 // of the sound that goes into it
  ChainOptions chain;
  Geometry geometry;  // of the picture
};

/// `samples` at 16 kHz, which the encoder makes `features_30` features of. Under `--preset reference` the clips are the
/// reference's, its first three frames are dropped and its sound starts at once; else every frame stands at the time of
/// its sound and the file is as long as the sound. A length that was asked for is one clip and cuts the sound.
SpeechPlan plan_speech(const Request& request, const Geometry& geometry, int64_t samples, int64_t features_30);

/// Reads what a render would read of the inputs, and notes what it would. Throws InvalidRequest naming an input, Cancelled.
void check_speech(const Request& request, const InputFiles& files, Notes& notes, Progress& progress);

/// Renders the job to its output. `folder` keeps what is done (SpeechFolder): a later call goes on after the last
/// finished clip, or in the running one at its last saved step, with the same bytes as without the break and with the
/// attention that the job or the folder names. Throws InvalidRequest naming an input, ModelError, Cancelled;
/// std::runtime_error where the machine refuses or a step gives NaN.
/// `meter`: measures its denoising; null: nobody does. Returns what the file states.
VideoFindings speak(Networks& networks, Job& job, const InputFiles& files, const std::filesystem::path& folder,
                    const Run& run, ResidualMeter* meter = nullptr);

}  // namespace wan
