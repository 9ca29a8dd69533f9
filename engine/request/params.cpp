#include "engine/request/params.h"

#include <charconv>
#include <cmath>
#include <cstring>

namespace wan {
namespace {

using enum Task;
using Words = std::vector<std::string>;

const Words kResolutions = {"480p", "580p", "720p"};
const Words kShapes = {"16:9", "9:16", "1:1"};
const Words kShapesOrAuto = {"auto", "16:9", "9:16", "1:1"};

// The rotary table of the transformer has 1024 positions for each axis: latent frames, and pairs of latent rows and
// columns.
constexpr Range kFrames = {1, 4 * 1023 + 1};
constexpr Range kPixels = {16, 16 * 1024, 16};
constexpr Range kSpeechPixels = {64, 16 * 1024, 64};
constexpr Range kHostedSteps = {2, 40}, kSteps = {1, 1000};
constexpr Range kHostedScale = {1, 10}, kGuidance = {0, 50}, kShift = {0, 1000, 1, true};
constexpr Range kUnit = {0, 1};

// wan/configs: sample_neg_prompt of shared_config and of wan_s2v_14B.
const char* const kNegative =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，"
    "残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱"
    "的背景，"
    "三条腿，背景人很多，倒着走";
const char* const kSpeechNegative =
    "画面模糊，最差质量，画面模糊，细节模糊不清，情绪激动剧烈，手快速抖动，字幕，丑陋的，残缺的，多余的手指，画得不好的"
    "手部，"
    "画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走";

const char* const kNotHere = "is not available in this build";

const std::vector<Task> kTwoExperts = {T2V, I2V, V2V};

std::map<Task, Accepts> each(const std::vector<Task>& tasks, const Accepts& accepts) {
  std::map<Task, Accepts> result;
  for (Task task : tasks) result.emplace(task, accepts);
  return result;
}

std::map<Task, Accepts> every(const Accepts& accepts) {
  return each({T2V, I2V, V2V, S2V}, accepts);
}

std::vector<Parameter> make_table() {
  return {
      // Preset and lock come first: they decide which defaults and ranges hold for the rest.
      {.name = "preset",
       .field = &Request::preset,
       .tasks = every({.value = "hosted", .words = {"hosted", "reference"}}),
       .group = "Preset",
       .help = "Defaults and ranges: of the hosted endpoint, or of the reference code with its negative prompt."},
      {.name = "unlocked",
       .field = &Request::unlocked,
       .tasks = every({.value = false}),
       .group = "Preset",
       .help = "Accept every value that the mathematics allows, also outside the endpoint's range."},

      {.name = "prompt",
       .field = &Request::prompt,
       .tasks = every({}),
       .group = "Input",
       .help = "What the video should show; an empty text is accepted.",
       .metavar = "TEXT",
       .required = true},
      {.name = "negative_prompt",
       .field = &Request::negative_prompt,
       .tasks = {{T2V, {.value = "", .reference = kNegative}},
                 {I2V, {.value = "", .reference = kNegative}},
                 {V2V, {.value = "", .reference = kNegative}},
                 {S2V, {.value = "", .reference = kSpeechNegative}}},
       .group = "Input",
       .help = "What the video should avoid. Empty: an empty text, or under --preset reference the official text.",
       .metavar = "TEXT",
       .empty_is_unset = true},
      {.name = "image_url",
       .field = &Request::image_url,
       .tasks = each({I2V, S2V}, {}),
       .group = "Input",
       .help = "The picture to start from.",
       .metavar = "FILE|URL",
       .required = true,
       .path = true,
       .media = true},
      {.name = "last_image_url",
       .field = &Request::last_image_url,
       .tasks = each({I2V}, {}),
       .group = "Input",
       .help = "A picture to end at; the length must then be 4n + 1 frames.",
       .metavar = "FILE|URL",
       .path = true,
       .media = true},
      {.name = "video_url",
       .field = &Request::video_url,
       .tasks = each({V2V}, {}),
       .group = "Input",
       .help = "The video to change.",
       .metavar = "FILE|URL",
       .required = true,
       .path = true,
       .media = true},
      {.name = "audio_url",
       .field = &Request::audio_url,
       .tasks = each({S2V}, {}),
       .group = "Input",
       .help = "The speech.",
       .metavar = "FILE|URL",
       .required = true,
       .path = true,
       .media = true},
      {.name = "pose_video_url",
       .field = &Request::pose_video_url,
       .tasks = each({S2V}, {}),
       .group = "Input",
       .help = "A video of poses to follow.",
       .metavar = "FILE|URL",
       .path = true,
       .media = true},
      {.name = "start_from_image",
       .field = &Request::start_from_image,
       .tasks = each({S2V}, {.value = false}),
       .group = "Input",
       .help = "Begin with the picture itself instead of a pose of the model's choice."},
      {.name = "resample_fps",
       .field = &Request::resample_fps,
       .tasks = each({V2V}, {.value = false}),
       .group = "Input",
       .help = "Resample the input to --frames-per-second before use."},
      {.name = "keep_audio",
       .field = &Request::keep_audio,
       .tasks = each({V2V}, {.value = true}),
       .group = "Input",
       .help = "Keep the input's sound where the speed is unchanged."},
      {.name = "deinterlace",
       .field = &Request::deinterlace,
       .tasks = each({V2V, S2V}, {.value = true}),
       .group = "Input",
       .help = "Make whole frames of an interlaced video, one for one."},
      {.name = "private_urls",
       .field = &Request::private_urls,
       .tasks = every({.value = true}),
       .group = "Input",
       .help = "Inputs by URL may come from this machine and private networks, also after redirects. Without, no proxy "
               "is used.",
       .stored = false},

      {.name = "num_frames",
       .field = &Request::num_frames,
       .tasks = {{T2V, {81, {17, 121}, kFrames}},
                 {I2V, {81, {17, 121}, kFrames}},
                 {V2V, {.value = 81, .hosted = {17, 161}, .engine = kFrames, .from_input = true}},
                 // A clip of speech has at most 30 latent frames: position 30 in time is the reference picture's.
                 {S2V, {.value = 80, .hosted = {40, 120, 4}, .engine = {1, 120}, .from_input = true}}},
       .group = "Video",
       .unit = "frames",
       .help = "Length of the video. The model renders the next 4n + 1 frames (4n for speech) and keeps these.",
       .metavar = "N",
       .given = &Request::num_frames_given},
      {.name = "frames_per_second",
       .field = &Request::frames_per_second,
       .tasks = every({16, {4, 60}, {1, 240}}),
       .group = "Video",
       .unit = "frames per second",
       .help = "Rate of the file; the model was trained at 16.",
       .metavar = "N"},
      {.name = "max_seconds",
       .field = &Request::max_seconds,
       .tasks = each({S2V}, {0.0, {0, 86400}, {0, 86400}}),
       .group = "Video",
       .unit = "seconds",
       .help = "Longest video; 0: as long as the speech.",
       .metavar = "X"},
      {.name = "resolution",
       .field = &Request::resolution,
       .tasks = {{T2V, {.value = "720p", .words = kResolutions}},
                 {I2V, {.value = "720p", .words = kResolutions}},
                 {V2V, {.value = "720p", .words = kResolutions}},
                 {S2V, {.value = "480p", .words = kResolutions}}},
       .group = "Video",
       .help = "Size class: the area of 832x480, 1024x576 or 1280x720."},
      {.name = "aspect_ratio",
       .field = &Request::aspect_ratio,
       .tasks = {{T2V, {.value = "16:9", .words = kShapes}},
                 {I2V, {.value = "auto", .words = kShapesOrAuto}},
                 {V2V, {.value = "auto", .words = kShapesOrAuto}}},
       .group = "Video",
       .help = "Shape; auto follows the input. An input of another shape is resized and cropped around its centre."},
      {.name = "width",
       .field = &Request::width,
       .tasks = {{T2V, {0, kPixels, kPixels}},
                 {I2V, {0, kPixels, kPixels}},
                 {V2V, {0, kPixels, kPixels}},
                 {S2V, {0, kSpeechPixels, kSpeechPixels}}},
       .group = "Video",
       .unit = "pixels",
       .help = "Exact width, together with --height; goes before --resolution and --aspect-ratio.",
       .metavar = "N"},
      {.name = "height",
       .field = &Request::height,
       .tasks = {{T2V, {0, kPixels, kPixels}},
                 {I2V, {0, kPixels, kPixels}},
                 {V2V, {0, kPixels, kPixels}},
                 {S2V, {0, kSpeechPixels, kSpeechPixels}}},
       .group = "Video",
       .unit = "pixels",
       .help = "Exact height, together with --width.",
       .metavar = "N"},

      {.name = "seed",
       .field = &Request::seed,
       .tasks = every({nullptr, {0, 0x1p64}, {0, 0x1p64}}),
       .group = "Sampling",
       .help = "Seed of the noise, as torch's generator takes it; drawn where it is absent or -1.",
       .metavar = "N",
       .nullable = true,
       .given = &Request::seed_given},
      {.name = "num_inference_steps",
       .field = &Request::num_inference_steps,
       .tasks = every({27, kHostedSteps, kSteps, 40}),
       .group = "Sampling",
       .help = "Number of denoising steps.",
       .metavar = "N"},
      {.name = "guidance_scale",
       .field = &Request::guidance_scale,
       .tasks = {{T2V, {3.5, kHostedScale, kGuidance, 4.0}},
                 {I2V, {3.5, kHostedScale, kGuidance, 3.5}},
                 {V2V, {3.5, kHostedScale, kGuidance, 4.0}},
                 {S2V, {3.5, kHostedScale, kGuidance, 4.5}}},
       .group = "Sampling",
       .help = "Classifier-free guidance; where there are two experts, of the first, high-noise one.",
       .metavar = "X"},
      {.name = "guidance_scale_2",
       .field = &Request::guidance_scale_2,
       .tasks = {{T2V, {4.0, kHostedScale, kGuidance, 3.0}},
                 {I2V, {3.5, kHostedScale, kGuidance, 3.5}},
                 {V2V, {4.0, kHostedScale, kGuidance, 3.0}}},
       .group = "Sampling",
       .help = "Classifier-free guidance of the second, low-noise expert.",
       .metavar = "X"},
      {.name = "shift",
       .field = &Request::shift,
       .tasks = {{T2V, {5.0, kHostedScale, kShift, 12.0}},
                 {I2V, {5.0, kHostedScale, kShift, 5.0}},
                 {V2V, {5.0, kHostedScale, kShift, 12.0}},
                 {S2V, {5.0, kHostedScale, kShift, 3.0}}},
       .group = "Sampling",
       .help = "Shift of the noise schedule: higher stays longer at high noise.",
       .metavar = "X"},
      {.name = "boundary",
       .field = &Request::boundary,
       .tasks = {{T2V, {0.875, kUnit, kUnit}}, {I2V, {0.9, kUnit, kUnit}}, {V2V, {0.875, kUnit, kUnit}}},
       .group = "Sampling",
       .unit = "of t / 1000",
       .help = "The high-noise expert works while t is at or above it.",
       .metavar = "X"},
      {.name = "strength",
       .field = &Request::strength,
       .tasks = each({V2V}, {0.9, kUnit, kUnit}),
       .group = "Sampling",
       .help = "How far the result may leave the input: 0 keeps it, 1 follows only the prompt.",
       .metavar = "X"},
      {.name = "solver",
       .field = &Request::solver,
       .tasks = every({.value = "unipc", .words = {"unipc", "dpm++", "euler"}}),
       .group = "Sampling",
       .help = "How the flow is integrated."},
      {.name = "sigmas",
       .field = &Request::sigmas,
       .tasks = every({nlohmann::json::array(), {0, 1, 1, true}, {0, 1, 1, true}}),
       .group = "Sampling",
       .help = "Explicit noise levels, falling, without the last 0; in place of steps and shift.",
       .metavar = "X,X,..."},

      {.name = "video_quality",
       .field = &Request::video_quality,
       .tasks = every({.value = "high", .words = {"low", "medium", "high", "maximum"}}),
       .group = "Output",
       .help = "Quality of the encoder; higher is larger."},
      {.name = "video_write_mode",
       .field = &Request::video_write_mode,
       .tasks = every({.value = "balanced", .words = {"fast", "balanced", "small"}}),
       .group = "Output",
       .help = "Effort of the encoder."},
      {.name = "metadata",
       .field = &Request::metadata,
       .tasks = every({.value = "full", .words = {"full", "minimal", "none"}}),
       .group = "Output",
       .help = "What the file says about how it was made. minimal has no prompts and no names, none nothing; replay "
               "needs full."},
      {.name = "out",
       .field = &Request::out,
       .tasks = every({}),
       .group = "Output",
       .help = "The video; where it is absent, that of an unfinished run of the same request, else TASK-SEED.mp4 or "
               "the next free name.",
       .metavar = "FILE",
       .path = true,
       .stored = false,
       .given = &Request::out_given},

      {.name = "model",
       .field = &Request::model,
       .tasks = every({}),
       .group = "Run",
       .help = "Folder of the model: as published, of diffusers, of ComfyUI, or of single files; or the name of a set "
               "in models.json. Not needed where every part is named.",
       .metavar = "DIR|NAME",
       .required = true,
       .path = true,
       .named = true},
      {.name = "models",
       .field = &Request::models,
       .tasks = every({}),
       .group = "Run",
       .help = "File of named sets, in place of ~/.config/wan-infer/models.json.",
       .metavar = "FILE",
       .path = true,
       .stored = false},
      {.name = "high_noise",
       .field = &Request::high_noise,
       .tasks = each(kTwoExperts, {}),
       .group = "Run",
       .help = "High-noise expert, in place of the one that --model has; a file or a folder, as for all parts.",
       .metavar = "FILE",
       .path = true,
       .part = true},
      {.name = "low_noise",
       .field = &Request::low_noise,
       .tasks = each(kTwoExperts, {}),
       .group = "Run",
       .help = "Low-noise expert.",
       .metavar = "FILE",
       .path = true,
       .part = true},
      {.name = "transformer",
       .field = &Request::transformer,
       .tasks = each({S2V}, {}),
       .group = "Run",
       .help = "Transformer for speech, in place of the one that --model has; a file or a folder, as for all parts.",
       .metavar = "FILE",
       .path = true,
       .part = true},
      {.name = "text_encoder",
       .field = &Request::text_encoder,
       .tasks = every({}),
       .group = "Run",
       .help = "UMT5 text encoder.",
       .metavar = "FILE",
       .path = true,
       .part = true},
      {.name = "vae",
       .field = &Request::vae,
       .tasks = every({}),
       .group = "Run",
       .help = "VAE, that of Wan 2.1.",
       .metavar = "FILE",
       .path = true,
       .part = true},
      {.name = "audio_encoder",
       .field = &Request::audio_encoder,
       .tasks = each({S2V}, {}),
       .group = "Run",
       .help = "Wav2Vec2 audio encoder.",
       .metavar = "FILE",
       .path = true,
       .part = true},
      {.name = "tokenizer",
       .field = &Request::tokenizer,
       .tasks = every({}),
       .group = "Run",
       .help = "tokenizer.json or spiece.model, or their folder.",
       .metavar = "FILE",
       .path = true,
       .part = true},
      {.name = "loras",
       .field = &Request::loras,
       .tasks = every({.value = nlohmann::json::array()}),
       .group = "LoRA",
       .help = "A LoRA, at scale 1 where none is said; may be repeated. Several scales, as in FILE:1,0.5, are for as "
               "many equal runs of its expert's steps. Which expert it is for, its name says (high, low), or @ does.",
       .metavar = "FILE[:SCALE][@high|low|both]",
       .repeated = true},
      {.name = "lora_lax",
       .field = &Request::lora_lax,
       .tasks = every({.value = false}),
       .group = "LoRA",
       .help = "Leave out keys of a LoRA that the transformer has no place for, instead of refusing the file."},
      {.name = "device",
       .field = &Request::device,
       .tasks = every({.value = "auto", .words = {"auto", "cpu", "cuda"}}),
       .group = "Run",
       .help = "Where to compute; auto takes the first GPU, and the CPU where there is none. cuda:1 is the second GPU.",
       .numbered = true},
      {.name = "dtype",
       .field = &Request::dtype,
       .tasks = every({.value = "auto", .words = {"auto", "float32", "bf16"}}),
       .group = "Run",
       .help = "Arithmetic of the networks; auto is bf16 on a GPU and float32 on the CPU."},
      {.name = "noise_device",
       .field = &Request::noise_device,
       .tasks = every({.value = "auto", .words = {"auto", "cpu", "cuda"}}),
       .group = "Run",
       .help = "Whose generator draws the noise; auto is the device's own, cpu gives the same noise on every machine."},
      {.name = "precision",
       .field = &Request::precision,
       .tasks = every({.value = "exact", .words = {"exact", "balanced", "fast", "fp8"}}),
       .group = "Run",
       .help =
           "exact computes as the reference does. balanced has 8-bit linears and 8-bit queries and keys, fast has "
           "8-bit values too. fp8 is exact but for linears whose weights lie in E4M3 with a scale for the matrix or "
           "each "
           "row (--weights fp8 makes them): both sides are multiplied as E4M3. Not measured on a GPU yet, so neither "
           "speed nor quality is promised."},
      {.name = "weights",
       .field = &Request::weights,
       .tasks = every({.value = "stored", .words = {"stored", "bf16", "fp8", "int8"}}),
       .group = "Run",
       .help =
           "What linears are kept in: stored keeps the files' floats or codes; bf16, and fp8 or int8 with a scale a "
           "row for the transformers' blocks, are made of them. Codes are widened at use, and take less memory."},
      {.name = "device_memory",
       .field = &Request::device_memory,
       .tasks = every({.value = ""}),
       .group = "Run",
       .help = "How much memory of the device may be taken, as 20GB or 900MB; 0 is what is free. Networks that do not "
               "fit are streamed from host memory, block by block: slower, and the same video.",
       .metavar = "SIZE",
       .empty_is_unset = true,
       .stored = false},

      {.name = "enable_prompt_expansion",
       .field = &Request::enable_prompt_expansion,
       .tasks = each(kTwoExperts, {.value = false}),
       .group = "Not available in this build",
       .help = "Let a language model enrich the prompt.",
       .unserved = kNotHere},
      {.name = "enable_safety_checker",
       .field = &Request::enable_safety_checker,
       .tasks = every({.value = false}),
       .group = "Not available in this build",
       .help = "Check the inputs before generating.",
       .unserved = kNotHere},
      {.name = "enable_output_safety_checker",
       .field = &Request::enable_output_safety_checker,
       .tasks = each({V2V, S2V}, {.value = false}),
       .group = "Not available in this build",
       .help = "Check the finished video.",
       .unserved = kNotHere},
      {.name = "acceleration",
       .field = &Request::acceleration,
       .tasks = each(kTwoExperts, {.value = "none", .words = {"none", "regular"}}),
       .group = "Not available in this build",
       .help = "Trade quality for speed.",
       .unserved = kNotHere},
      {.name = "interpolator_model",
       .field = &Request::interpolator_model,
       .tasks = each(kTwoExperts, {.value = "none", .words = {"none", "film", "rife"}}),
       .group = "Not available in this build",
       .help = "Model that draws frames between the generated ones.",
       .unserved = kNotHere},
      {.name = "num_interpolated_frames",
       .field = &Request::num_interpolated_frames,
       .tasks = each(kTwoExperts, {0, {0, 4}, {0, 4}}),
       .group = "Not available in this build",
       .unit = "frames",
       .help = "Frames drawn between each two generated ones.",
       .metavar = "N",
       .unserved = kNotHere,
       .switched_by = "interpolator_model"},
      {.name = "adjust_fps_for_interpolation",
       .field = &Request::adjust_fps_for_interpolation,
       .tasks = each(kTwoExperts, {.value = true}),
       .group = "Not available in this build",
       .help = "Keep the duration when frames are drawn between; without interpolation it changes nothing."},
  };
}

}  // namespace

bool Range::contains(double value) const {
  return (above ? value > least : value >= least) && value <= most &&
         (step == 1 || std::fmod(value, double(step)) == 0);
}

std::string Range::text(const std::string& unit) const {
  std::string text = above ? "above " + number_text(least) + ", at most " + number_text(most)
                           : "from " + number_text(least) + " to " + number_text(most);
  if (!unit.empty()) text += " " + unit;
  return step == 1 ? text : text + ", a multiple of " + number_text(double(step));
}

const Accepts* Parameter::accepts(Task task) const {
  auto found = tasks.find(task);
  return found == tasks.end() ? nullptr : &found->second;
}

std::string Parameter::flag() const {
  std::string text = "--" + std::string(name);
  if (text.ends_with("_url")) text.resize(text.size() - std::strlen("_url"));
  if (repeated && text.ends_with("s")) text.pop_back();
  for (char& letter : text)
    if (letter == '_') letter = '-';
  return text;
}

const std::vector<Parameter>& parameters() {
  static const std::vector<Parameter> table = make_table();
  return table;
}

const Parameter* find_parameter(const std::string& name) {
  for (const Parameter& parameter : parameters())
    if (parameter.name == name) return &parameter;
  return nullptr;
}

namespace {

template <typename Json>
Json json_of(const Lora& lora) {
  Json json = {{"path", lora.path}, {"scale", lora.scales}};
  if (lora.scales.size() == 1) json["scale"] = lora.scales[0];
  if (!lora.transformer.empty()) json["transformer"] = lora.transformer;
  return json;
}

}  // namespace

void to_json(nlohmann::json& json, const Lora& lora) {
  json = json_of<nlohmann::json>(lora);
}

void to_json(nlohmann::ordered_json& json, const Lora& lora) {
  json = json_of<nlohmann::ordered_json>(lora);
}

void from_json(const nlohmann::json& json, Lora& lora) {
  json.at("path").get_to(lora.path);
  const nlohmann::json& scale = json.at("scale");
  lora.scales = scale.is_array() ? scale.get<std::vector<double>>() : std::vector{scale.get<double>()};
  lora.transformer = json.value("transformer", "");
}

const char* task_name(Task task) {
  constexpr const char* kNames[] = {"t2v", "i2v", "v2v", "s2v"};
  return kNames[int(task)];
}

std::optional<Task> task_named(const std::string& name) {
  for (Task task : kTasks)
    if (name == task_name(task)) return task;
  return std::nullopt;
}

std::string number_text(double value) {
  if (value == 0x1p63) return "2^63 - 1";
  if (value == 0x1p64) return "2^64 - 1";
  char text[32];
  auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

}  // namespace wan
