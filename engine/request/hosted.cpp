#include "engine/request/hosted.h"

#include <algorithm>
#include <iterator>

namespace wan {
namespace {

// Which of them a task's endpoint has follows from the table of parameters.
constexpr const char* kFields[] = {
    "prompt",
    "negative_prompt",
    "image_url",
    "video_url",
    "audio_url",
    "num_frames",
    "seed",
    "frames_per_second",
    "resolution",
    "aspect_ratio",
    "num_inference_steps",
    "guidance_scale",
    "guidance_scale_2",
    "shift",
    "strength",
    "resample_fps",
    "enable_safety_checker",
    "enable_output_safety_checker",
    "acceleration",
    "interpolator_model",
    "enable_prompt_expansion",
    "video_quality",
    "video_write_mode",
    "num_interpolated_frames",
    "adjust_fps_for_interpolation",
};

// What a speech endpoint has not, though speech rendered here may have it.
constexpr const char* kNotOfSpeech[] = {"interpolator_model", "num_interpolated_frames", "adjust_fps_for_interpolation",
                                        "acceleration"};

// The same: videos from texts and pictures are checked here alone.
constexpr const char* kNotOfPictures[] = {"enable_output_safety_checker"};

constexpr const char* kModels[] = {"model",        "models", "high_noise",    "low_noise", "transformer",
                                   "text_encoder", "vae",    "audio_encoder", "tokenizer", "interpolator"};
// What whoever runs the server decides for all requests.
constexpr const char* kMachine[] = {
    "device",      "dtype",        "noise_device",   "precision",        "weights",      "device_memory",
    "cache_dir",   "loras",        "lora_lax",       "private_urls",     "threads",      "lora",
    "calibration", "expander_url", "expander_model", "expander_timeout", "quality_check"};
constexpr const char* kSafety[] = {"safety_checker", "safety_threshold", "safety_action", "discard", "blocked_words"};
constexpr const char* kOutput[] = {"out", "contact_sheet", "overwrite"};
constexpr const char* kWay[] = {"fresh", "dry_run", "order", "fail_fast", "shard", "report"};

template <size_t size>
bool holds(const char* const (&names)[size], const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

const char* hosted_path(Task task) {
  constexpr const char* kPaths[] = {"fal-ai/wan/v2.2-a14b/text-to-video", "fal-ai/wan/v2.2-a14b/image-to-video",
                                    "fal-ai/wan/v2.2-a14b/video-to-video", "fal-ai/wan/v2.2-14b/speech-to-video"};
  return kPaths[int(task)];
}

bool is_hosted(const Parameter& parameter, Task task) {
  return parameter.accepts(task) && holds(kFields, parameter.name) &&
         !(task == Task::S2V && holds(kNotOfSpeech, parameter.name)) &&
         !((task == Task::T2V || task == Task::I2V) && holds(kNotOfPictures, parameter.name));
}

std::string local_only_text(const std::string& flag) {
  std::string name = flag;
  std::replace(name.begin(), name.end(), '-', '_');
  if (holds(kModels, name)) return "is for local runs: the server has models of its own; leave it out";
  if (holds(kMachine, name) || holds(kSafety, name))
    return "is for local runs: whoever runs the server decides it; leave it out";
  if (holds(kOutput, name))
    return "is for local runs: the video lies at the server, and wan-infer watch ID --out FILE brings it";
  if (holds(kWay, name)) return "is for local runs: the server's queue decides how a request is run; leave it out";
  return "is for local runs: the endpoint of a server has no such field; leave it out, or render here";
}

}  // namespace wan
