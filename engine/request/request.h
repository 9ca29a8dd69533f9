// The values of one request: every default filled in, every range checked, nothing decided twice.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace wan {

enum class Task { T2V, I2V, V2V, S2V };

/// A LoRA of a request, as it was given.
struct Lora {
  std::string path;
  std::vector<double> scales = {1};  // one for each of as many equal runs of its expert's steps
  std::string transformer;           // high | low | both; empty: what the file's name says

  bool operator==(const Lora&) const = default;
};

/// Members carry the endpoints' field names (shared vocabulary of CLI, manifest, HTTP and metadata).
struct Request {
  Task task = Task::T2V;
  std::string model;   // folder or file as given, or the name of a set of models.json; empty where all parts are named
  std::string models;  // file of sets; empty: the user's models.json. Not part of the metadata
  /// Files or folders of single parts, as given; empty: found in `model`. `transformer` is that of speech.
  std::string high_noise, low_noise, transformer, text_encoder, vae, audio_encoder, tokenizer;
  std::vector<Lora> loras;
  bool lora_lax = false;  // keys of LoRAs that the transformers have no place for are left out
  std::string out;        // path of the video as given; not part of the metadata
  bool out_given = false;
  std::string preset;     // hosted | reference | lightning4 | lightning8-3phase
  bool unlocked = false;  // engine ranges instead of the endpoint's

  std::string prompt;
  std::string negative_prompt;  // literal: already the preset's default where unset
  std::string image_url, last_image_url, video_url, audio_url, pose_video_url;

  int64_t num_frames = 0;         // what the file holds; the model renders the next 4n + 1 (4n for speech)
  bool num_frames_given = false;  // unset has its own meaning for video and speech input
  int64_t frames_per_second = 16;
  uint64_t seed = 0;  // drawn where it was absent or -1
  bool seed_given = false;
  std::string resolution;         // 480p | 580p | 720p
  std::string aspect_ratio;       // 16:9 | 9:16 | 1:1 | auto
  int64_t width = 0, height = 0;  // exact pixels, multiples of 16; 0 with aspect auto: follows the input

  int64_t num_inference_steps = 0;
  double shift = 0, guidance_scale = 0, guidance_scale_2 = 0;  // first: high-noise expert, second: low-noise
  double guidance_until = 0;                                   // t / 1000 below which the guidance is 1
  std::string guidance_interval;                               // "0.2:0.9": sigmas outside of which it is 1
  double boundary = 0;                                         // in units of t / 1000
  double strength = 0;                                         // V2V
  std::string solver;                                          // unipc | dpm++ | euler | step_distill
  double skip_softmax = 0;                                     // lambda of Skip-Softmax, 0: off
  int64_t skip_softmax_dense = -1;  // steps of the schedule that stay dense, the first ones; -1 where it is off
  std::vector<double> sigmas;       // explicit list from high to low without the final 0; empty: from steps and shift

  bool resample_fps = false, keep_audio = true, deinterlace = true, start_from_image = false;
  bool private_urls = true;       // URLs may lead to the own machine and network; not part of the metadata
  double max_seconds = 0;         // S2V; 0: no cap
  double most_audio_seconds = 0;  // S2V: longer sound is refused, not cut; 0: none is

  std::string device, dtype, noise_device;  // auto | cpu | cuda[:n]; auto | float32 | bf16; auto | cpu | cuda
  std::string precision;                    // exact | balanced | fast
  std::string weights;                      // stored | bf16 | fp8 | int8
  std::string device_memory;                // "20GB": what may be taken of the device; empty or "0": what is free
  std::string cache_dir;                    // folder for copies of float32 experts in fewer bits; empty: none are kept
  std::string video_quality, video_write_mode;
  std::string metadata;  // full | minimal | none

  std::string quality_check = "warn";  // warn | retry | off; not part of the metadata

  bool enable_safety_checker = false, enable_output_safety_checker = false, enable_prompt_expansion = false;
  /// Asked for a longer prompt, where enable_prompt_expansion says so. Neither url nor timeout is part of the metadata.
  std::string expander_url, expander_model;
  int64_t expander_timeout = 0;  // seconds
  std::string acceleration;      // none | regular
  std::string calibration;       // file of ratios for it, as given; empty: the published ones

  // What is drawn between the frames that the model makes; interpolation_of (interpolation.h) has it as one value.
  std::string interpolator_model;       // none | film | rife
  std::string interpolator;             // file or folder of its weights, as given; empty: found in `model`
  int64_t num_interpolated_frames = 0;  // between each two
  bool adjust_fps_for_interpolation = true;
  std::string interpolation_times;  // midpoints | direct: how FILM reaches several of them

  // What is looked at, and what becomes of what is found (safety.h). The two switches stand above.
  std::string safety_checker;    // folder of a checker, as given; empty: found in `model`, where a set names one
  double safety_threshold = -2;  // from -1 to 1; -2: the checker's own
  std::string safety_action;     // refuse | blur | flag
  bool discard = false;          // a refused video is removed
  std::string blocked_words;     // file with a word or phrase a line; empty: none. Not part of the metadata

  /// Frames the model renders: the next 4n + 1, or 4n for speech.
  int64_t rendered_frames() const {
    return task == Task::S2V ? (num_frames + 3) / 4 * 4 : (num_frames + 2) / 4 * 4 + 1;
  }
};

}  // namespace wan
