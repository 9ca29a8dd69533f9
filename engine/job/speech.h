// Speech to video: from a picture and a sound of any length to a video, clip after clip.
#pragma once

#include <filesystem>
#include <functional>

#include "engine/job/render.h"
#include "engine/speech/chain.h"
#include "engine/speech/waveform.h"

namespace wan {

/// Which clips a sound of this length gives, and what the file shows of them.
struct SpeechPlan {
  std::vector<Clip> clips;
  std::vector<int64_t> features;  // for each video frame of all clips the index of its feature at 30 a second
  int64_t frames;                 // of the file
  double seconds;                 // of the sound that goes into it
  ChainOptions chain;
};

/// `samples` at 16 kHz, which the encoder makes `features_30` features of. Under `--preset reference` the clips are the
/// reference's, its first three frames are dropped and its sound starts at once; else every frame stands at the time of
/// its sound and the file is as long as the sound. A length that was asked for is one clip and cuts the sound.
SpeechPlan plan_speech(const Request& request, int64_t samples, int64_t features_30);

/// Renders `asked` to its `out`. `work` keeps what is done (ClipStore) and copies of inputs that are URLs; with the
/// same record a later call goes on after the last finished clip, or in the running one at its last saved step, with
/// the same bytes as without the break. Where the record names attention, it computes with that. `finished` is called
/// when the file is in its place, before what `work` holds goes. Throws as `render` does.
void speak(Networks& networks, const Request& asked, const Record& record, const std::filesystem::path& work,
           const RenderOptions& options, const Log& log, Progress& progress, const std::string& job = "",
           const std::function<void()>& finished = {});
/// The same with networks of its own, and the clips beside the output. A seed that nobody chose is that of a broken run
/// of the same request, and so is an output that is named after the seed: the same command goes on.
void render_speech(const Request& request, const RenderOptions& options, const Log& log, Progress& progress);

}  // namespace wan
