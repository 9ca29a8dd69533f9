// Rows of the table of parameters: preset, inputs, length and size.
#include "engine/request/params_rows.h"
#include "engine/request/presets.h"

namespace wan::rows {

using enum Task;

namespace {

const Words kResolutions = {"480p", "580p", "720p"};
const Words kShapes = {"16:9", "9:16", "1:1"};
const Words kShapesOrAuto = {"auto", "16:9", "9:16", "1:1"};

// The rotary table of the transformer has 1024 positions for each axis: latent frames, and pairs of latent rows and
// columns.
constexpr Range kFrames = {1, 4 * 1023 + 1};
constexpr Range kPixels = {16, 16 * 1024, 16};
constexpr Range kSpeechPixels = {64, 16 * 1024, 64};

std::map<Task, Accepts> preset_of_tasks() {
  std::map<Task, Accepts> tasks;
  for (Task task : kTasks) tasks[task] = {.value = presets().front().name, .words = preset_names(task)};
  return tasks;
}

}  // namespace

std::vector<Parameter> of_input() {
  return {
      {.name = "preset",
       .field = &Request::preset,
       .tasks = preset_of_tasks(),
       .group = "Preset",
       .help = "Defaults that belong together: of the hosted endpoint, of the reference code with its ranges and negative prompt, or "
               "of models distilled to few steps (docs/few-steps.md). What is given beside it wins."},
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
       .tasks = every({.value = ""}),
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
  };
}

}  // namespace wan::rows
