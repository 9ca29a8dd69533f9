#include "engine/serve/api/endpoints.h"

#include <strings.h>

#include <stdexcept>

namespace wan::serve {
namespace {

using nlohmann::json;
using Kind = EndpointField::Kind;

/// What HTTP says of a field beyond the table of parameters.
struct Row {
  const char* parameter;
  const char* media;
  const char* help;
};

constexpr Row kRows[] = {
    {"prompt", "", "Text that describes the wanted video; may be empty."},
    {"negative_prompt", "", "Text that describes what the video should avoid."},
    {"image_url", "image",
     "Input image: an http(s) URL, the URL of a file uploaded to this server, or a data URL. It is resized and cropped "
     "around its centre to the video's shape."},
    {"video_url", "video", "Source video: an http(s) URL, the URL of a file of this server, or a data URL."},
    {"audio_url", "audio", "Speech: an http(s) URL, the URL of a file uploaded to this server, or a data URL."},
    {"strength", "", "How far the result may leave the source video: 0 keeps it, 1 follows the prompt alone."},
    {"num_frames", "", "Frames that the model makes, before interpolation."},
    {"frames_per_second", "",
     "Rate at which the generated frames are shown. With interpolation and adjust_fps_for_interpolation the file has "
     "this times (num_interpolated_frames + 1)."},
    {"seed", "", "Seed of the noise, up to 2^64 - 1. Absent, null or -1: drawn. The answer says which one was used."},
    {"resolution", "", "Size class of the video."},
    {"aspect_ratio", "", "Shape of the video; auto follows the input."},
    {"num_inference_steps", "", "Denoising steps."},
    {"enable_safety_checker", "", "Check the inputs before the video is made."},
    {"enable_output_safety_checker", "", "Check the finished video."},
    {"enable_prompt_expansion", "", "Let a language model enrich the prompt."},
    {"acceleration", "",
     "Speed against quality. Where it is absent, this server's own default holds, which the log tells."},
    {"guidance_scale", "", "Classifier-free guidance; with two experts that of the first, high-noise one."},
    {"guidance_scale_2", "", "Classifier-free guidance of the second, low-noise expert."},
    {"shift", "", "Shift of the noise schedule."},
    {"interpolator_model", "", "Model that draws frames between the generated ones; none: no interpolation."},
    {"num_interpolated_frames", "", "Frames drawn between each two generated ones."},
    {"adjust_fps_for_interpolation", "",
     "Show as many more frames a second as are drawn, so that the video lasts as long; false keeps frames_per_second."},
    {"video_quality", "", "Quality of the encoder; higher is larger."},
    {"video_write_mode", "", "Effort of the encoder: fast is quick and large, small slow and compact."},
    {"resample_fps", "", "Bring the source video to frames_per_second before use."},
};

/// Hosted defaults that differ from those of local runs, where what is not installed is off.
const json& hosted_values() {
  static const json values = {
      {"acceleration", "regular"}, {"interpolator_model", "film"}, {"num_interpolated_frames", 1}};
  return values;
}

const Row& row_of(const std::string& parameter) {
  for (const Row& row : kRows)
    if (parameter == row.parameter) return row;
  throw std::logic_error("no row of HTTP for " + parameter);
}

Kind kind_of(const Parameter& parameter) {
  if (std::holds_alternative<bool Request::*>(parameter.field)) return Kind::Boolean;
  if (std::holds_alternative<double Request::*>(parameter.field)) return Kind::Number;
  const bool text = std::holds_alternative<std::string Request::*>(parameter.field);
  return text ? Kind::Text : Kind::Integer;
}

EndpointField field_for(const std::string& name, Task task) {
  const Parameter* parameter = find_parameter(name);
  const Accepts* accepts = parameter ? parameter->accepts(task) : nullptr;
  if (!accepts)
    throw std::logic_error(std::string("the table of parameters has no ") + name + " for " + task_name(task));
  const Row& row = row_of(name);
  EndpointField field{.name = name,
                      .parameter = parameter,
                      .kind = kind_of(*parameter),
                      .required = parameter->required,
                      .nullable = parameter->nullable,
                      .value = hosted_values().value(name, accepts->value),
                      .range = accepts->hosted,
                      .words = accepts->words,
                      .media = row.media,
                      .help = row.help};
  // The hosted API names no range for it; what the engine cannot take is refused where the request is parsed.
  if (name == "seed") field.range = {};
  return field;
}

std::vector<EndpointField> fields_for(Task task, const std::vector<const char*>& names) {
  std::vector<EndpointField> fields;
  for (const char* name : names) fields.push_back(field_for(name, task));
  return fields;
}

Endpoint text_to_video() {
  return {.path = "fal-ai/wan/v2.2-a14b/text-to-video",
          .task = Task::T2V,
          .summary = "Video from a text",
          .fields = fields_for(Task::T2V, {"prompt", "negative_prompt", "num_frames", "frames_per_second", "seed",
                                           "resolution", "aspect_ratio", "num_inference_steps", "enable_safety_checker",
                                           "enable_prompt_expansion", "acceleration", "guidance_scale",
                                           "guidance_scale_2", "shift", "interpolator_model", "num_interpolated_frames",
                                           "adjust_fps_for_interpolation", "video_quality", "video_write_mode"}),
          .tells_seed = true};
}

Endpoint image_to_video() {
  return {.path = "fal-ai/wan/v2.2-a14b/image-to-video",
          .task = Task::I2V,
          .summary = "Video from an image",
          .fields = fields_for(Task::I2V, {"image_url",
                                           "prompt",
                                           "num_frames",
                                           "frames_per_second",
                                           "negative_prompt",
                                           "seed",
                                           "resolution",
                                           "aspect_ratio",
                                           "num_inference_steps",
                                           "enable_safety_checker",
                                           "enable_prompt_expansion",
                                           "acceleration",
                                           "guidance_scale",
                                           "guidance_scale_2",
                                           "shift",
                                           "interpolator_model",
                                           "num_interpolated_frames",
                                           "adjust_fps_for_interpolation",
                                           "video_quality",
                                           "video_write_mode"}),
          .tells_seed = true};
}

Endpoint video_to_video() {
  return {.path = "fal-ai/wan/v2.2-a14b/video-to-video",
          .task = Task::V2V,
          .summary = "Video from a video",
          .fields = fields_for(Task::V2V, {"video_url",
                                           "prompt",
                                           "strength",
                                           "num_frames",
                                           "frames_per_second",
                                           "negative_prompt",
                                           "seed",
                                           "resolution",
                                           "aspect_ratio",
                                           "num_inference_steps",
                                           "enable_safety_checker",
                                           "enable_output_safety_checker",
                                           "enable_prompt_expansion",
                                           "acceleration",
                                           "guidance_scale",
                                           "guidance_scale_2",
                                           "shift",
                                           "interpolator_model",
                                           "num_interpolated_frames",
                                           "adjust_fps_for_interpolation",
                                           "video_quality",
                                           "video_write_mode",
                                           "resample_fps"}),
          .tells_seed = true};
}

Endpoint speech_to_video() {
  return {.path = "fal-ai/wan/v2.2-14b/speech-to-video",
          .task = Task::S2V,
          .summary = "Speaking video from an image and speech",
          .fields = fields_for(
              Task::S2V, {"prompt", "negative_prompt", "num_frames", "frames_per_second", "seed", "resolution",
                          "num_inference_steps", "enable_safety_checker", "enable_output_safety_checker",
                          "guidance_scale", "shift", "video_quality", "video_write_mode", "image_url", "audio_url"})};
}

/// WaveSpeed calls fields otherwise and takes fewer values.
Endpoint wavespeed_speech_to_video() {
  Endpoint endpoint{.path = "wavespeed-ai/wan-2.2/speech-to-video",
                    .vendor = Vendor::WaveSpeed,
                    .task = Task::S2V,
                    .summary = "Speaking video from an image and speech",
                    .fields = fields_for(Task::S2V, {"image_url", "audio_url", "prompt", "resolution", "seed"})};
  EndpointField& image = endpoint.fields[0];
  image.name = "image";
  EndpointField& audio = endpoint.fields[1];
  audio.name = "audio";
  audio.help += " Its length sets that of the video, 120 s at most.";
  EndpointField& prompt = endpoint.fields[2];
  prompt.required = false;
  prompt.value = "";
  endpoint.fields[3].words = {"480p", "720p"};
  EndpointField& seed = endpoint.fields[4];
  seed.nullable = false;
  seed.value = -1;
  seed.range = {-1, 2147483647};
  seed.help = "Seed of the noise; -1: drawn.";
  endpoint.fields.push_back({.name = "enable_sync_mode",
                             .kind = Kind::Boolean,
                             .value = false,
                             .help = "Answer when the task has ended instead of at once."});
  return endpoint;
}

}  // namespace

const EndpointField* Endpoint::field(std::string_view name) const {
  for (const EndpointField& field : fields)
    if (field.name == name) return &field;
  return nullptr;
}

const EndpointField* Endpoint::field_of(std::string_view parameter) const {
  for (const EndpointField& field : fields)
    if (field.parameter && parameter == field.parameter->name) return &field;
  return nullptr;
}

const std::vector<Endpoint>& endpoints() {
  static const std::vector<Endpoint> all = {text_to_video(), image_to_video(), video_to_video(), speech_to_video(),
                                            wavespeed_speech_to_video()};
  return all;
}

const Endpoint* find_endpoint(std::string_view path) {
  for (const Endpoint& endpoint : endpoints())
    if (endpoint.path.size() == path.size() && strncasecmp(endpoint.path.data(), path.data(), path.size()) == 0)
      return &endpoint;
  return nullptr;
}

}  // namespace wan::serve
