// Whole speech runs from the stored noise: picture, sound, every clip's latents and frames, and the bytes of the video.
#include <gtest/gtest.h>

#include "engine/frames/vae_clip.h"
#include "engine/job/conditioning.h"
#include "engine/job/text_states.h"
#include "engine/media/image_reader.h"
#include "engine/media/resize.h"
#include "engine/request/geometry.h"
#include "engine/residency/open_network.h"
#include "engine/sampling/denoise.h"
#include "engine/speech/chain.h"
#include "engine/speech/guidance.h"
#include "engine/speech/waveform.h"
#include "models/vae/frames.h"
#include "tests/parity/case.h"
#include "tests/parts.h"
#include "tests/support.h"
#include "tests/support/job.h"

namespace wan::parity {
namespace {

Request request_of(const nlohmann::json& json) {
  Request request;
  request.task = Task::S2V;
  request.solver = json["solver"];
  request.num_inference_steps = json["steps"];
  request.shift = json["shift"];
  request.guidance_scale = json["guide_scale"];
  return request;
}

/// One case on its way through the chain.
class SpeechRun {
 public:
  explicit SpeechRun(Case& golden)
      : golden_(golden),
        json_(golden.json),
        request_(request_of(json_)),
        schedule_(make_schedule(request_)),
        models_(parts_of(golden.checkpoint(), Task::S2V), Placement{}, 0, Log{}) {}

  void operator()() {
    read_picture();
    read_text();
    SpeechFeatures features(models_.audio_encoder(), open_waveform({path(json_["audio"]), "audio_url"}));
    read_sound(features);
    read_pose();
    check_schedule();
    MotionBuffer buffer(height_, width_, json_["init_first_frame"] ? pixels_ : at::Tensor());
    chain_clips(clips_, 0, reference_, buffer,
                {.start_from_image = json_["init_first_frame"], .hold_first_frame = false},
                {.encode = [&](const at::Tensor& frames) { return encode(frames); },
                 .sample = [&](const ClipTurn& turn) { return sample(turn, buffer, features); },
                 .decode =
                     [&](const at::Tensor& latents, const auto& piece) {
                       vae::DecoderStream stream(models_.vae().decoder);
                       for (int64_t i = 0; i < latents.size(1); ++i) piece(stream.next(latents.narrow(1, i, 1)));
                     },
                 .show = [&](const at::Tensor& frames) { shown_.push_back(frames.clone()); },
                 .finished = [&](int64_t number, const MotionBuffer&) { check_frames(number); }});
    std::string next = "clip" + std::to_string(clips_.size()) + ".motion_latents";
    if (golden_.has(next)) golden_.expect(next, encode(buffer.frames()));
    check_video();
  }

 private:
  std::string path(const std::string& name) const { return (golden_.folder / "cases" / name).string(); }
  at::Tensor encode(const at::Tensor& pixels) { return pixel_latent(models_.vae(), pixels, quiet_); }

  void read_picture() {
    at::Tensor image = read_image({path(json_["image"]), "image_url"});
    Size size = speech_size_by_area(image.size(1), image.size(0), json_["max_area"]);
    height_ = size.height;
    width_ = size.width;
    EXPECT_EQ(nlohmann::json({height_, width_}), json_["size_hw"]) << golden_.name;
    at::Tensor picture = resize_shorter_side(image, height_, width_);
    golden_.expect("ref_pixels_u8", picture);
    pixels_ = picture.permute({2, 0, 1}).unsqueeze(1).to(at::kFloat).div_(255).mul_(2).sub_(1);
    reference_ = encode(pixels_);
    golden_.expect("ref_latents", reference_);
  }

  void read_text() {
    text::Tokenizer tokenizer = open_tokenizer(models_.parts());
    std::string prompt = json_["prompt"], negative = json_["negative_prompt"];
    EXPECT_EQ(tokenizer.encode(prompt), json_["prompt_ids"].get<std::vector<int64_t>>()) << golden_.name;
    EXPECT_EQ(tokenizer.encode(negative), json_["negative_prompt_ids"].get<std::vector<int64_t>>()) << golden_.name;
    TextStates text(models_);
    golden_.expect("context", text(prompt));
    golden_.expect("context_null", text(negative));
    guidance_.emplace(models_, text(prompt), text(negative));
  }

  void read_sound(SpeechFeatures& features) {
    std::optional<int64_t> limit;
    if (!json_["num_clip_arg"].is_null()) limit = json_["num_clip_arg"].get<int64_t>();
    clips_ = reference_clips(features.frames(), json_["fps"], json_["infer_frames"], limit);
    EXPECT_EQ(int64_t(clips_.size()), json_["num_clips"]) << golden_.name;
    // The reference's table is of all clips that the sound needs, also where fewer are rendered.
    std::vector<Clip> all = reference_clips(features.frames(), json_["fps"], json_["infer_frames"]);
    index_ = feature_index(features.frames(), json_["fps"], all.back().start + all.back().frames);
    index_.resize(size_t(clips_.back().start + clips_.back().frames));
    golden_.expect("audio_embed", features.at(index_).unsqueeze(0));
  }

  void read_pose() {
    if (json_["pose_source_fps"].is_null()) return;
    double rate = json_["pose_source_fps"].get<double>() / json_["fps"].get<double>();
    at::Tensor frames = golden_.input("pose_frames_u8").slice(0, {}, {}, std::max<int64_t>(1, std::llrint(rate)));
    frames = frames.narrow(0, 0, std::min(frames.size(0), clips_.back().start + clips_.back().frames)).contiguous();
    pose_ = resize_shorter_side_float(frames, height_, width_);
  }

  void check_schedule() {
    std::vector<double> timesteps;
    for (const Step& step : schedule_) timesteps.push_back(step.t);
    golden_.expect("timesteps", at::tensor(timesteps, at::kDouble).to(golden_.input("timesteps").scalar_type()));
    golden_.expect(
        "sigmas", at::tensor(flow_sigmas(schedule_.solver(), request_.num_inference_steps, request_.shift), at::kDouble)
                      .to(at::kFloat));
  }

  at::Tensor sample(const ClipTurn& turn, const MotionBuffer& buffer, SpeechFeatures& features) {
    const std::string prefix = "clip" + std::to_string(turn.number) + ".";
    golden_.expect(prefix + "motion_latents", encode(buffer.frames()));
    at::Tensor pose;
    if (pose_.defined()) {
      pose = pose_latents(pose_, turn.clip, [&](const at::Tensor& pixels) { return encode(pixels); });
      golden_.expect(prefix + "cond_latents", pose);
    }
    std::vector<int64_t> index(index_.begin() + turn.clip.start, index_.begin() + turn.clip.start + turn.clip.frames);
    guidance_->begin_clip(reference_, turn.motion_latents, pose, features.at(index));
    Sampling state = begin_sampling(schedule_, golden_.input(prefix + "noise"));
    std::vector<at::Tensor> latents;
    auto velocity = [&](const Step& step, const at::Tensor& x) {
      Velocity both = (*guidance_)(step, x);
      std::string suffix = ".step" + std::to_string(step.index);
      golden_.expect(prefix + "pred_cond" + suffix, both.conditional);
      golden_.expect(prefix + "pred_uncond" + suffix, both.unconditional);
      return both;
    };
    denoise(state, schedule_, schedule_.size(), velocity, quiet_,
            [&](const Sampling& now) { latents.push_back(now.x); });
    golden_.expect(prefix + "latents", at::stack(latents));
    return state.x;
  }

  void check_frames(int64_t number) {
    at::Tensor frames = at::cat(shown_, 1);
    shown_.clear();
    const std::string prefix = "clip" + std::to_string(number) + ".";
    golden_.expect(prefix + "frames", frames);
    golden_.expect(prefix + "frames_last", frames.narrow(1, frames.size(1) - 1, 1));
    video_.push_back(frames);
  }

  /// Truncation to 8 bits turns a difference of rounding into 1 where a value lies at the edge: in 0.02 % of the bytes.
  void check_video() {
    at::Tensor want = golden_.input("video_u8"), got = vae::to_uint8(at::cat(video_, 1));
    ASSERT_EQ(got.sizes(), want.sizes());
    at::Tensor difference = (got.to(at::kInt) - want.to(at::kInt)).abs();
    EXPECT_LE(difference.max().item<int>(), 1) << golden_.name;
    EXPECT_LE(difference.to(at::kDouble).mean().item<double>(), 1e-3) << golden_.name;
  }

  Case& golden_;
  const nlohmann::json& json_;
  Request request_;
  Schedule schedule_;
  Networks models_;
  QuietRun quiet_;
  int64_t height_ = 0, width_ = 0;
  at::Tensor pixels_, reference_, pose_;
  std::vector<Clip> clips_;
  std::vector<int64_t> index_;
  std::optional<SpeechGuidance> guidance_;
  std::vector<at::Tensor> shown_, video_;
};

}  // namespace

const Handler kEndToEndSpeech = {
    "speech end to end",
    [](const Case& golden) { return golden.json.contains("infer_frames") && golden.json.contains("steps"); },
    [](Case& golden) { SpeechRun{golden}(); }};

}  // namespace wan::parity
