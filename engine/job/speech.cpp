#include "engine/job/speech.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>

#include "engine/attention_choice.h"
#include "engine/denoise.h"
#include "engine/job/clip_store.h"
#include "engine/job/stage_clock.h"
#include "engine/media/audio_reader.h"
#include "engine/media/fetch.h"
#include "engine/media/image_reader.h"
#include "engine/media/png.h"
#include "engine/media/resize.h"
#include "engine/media/video_reader.h"
#include "engine/media/writer.h"
#include "engine/memory.h"
#include "engine/request/error.h"
#include "engine/request/geometry.h"
#include "engine/speech_guidance.h"
#include "models/checkpoint.h"
#include "models/vae/frames.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

constexpr int64_t kRate = 16000;  // of the audio encoder
constexpr auto kSaveEvery = std::chrono::seconds(45);

/// The frames of a pose video that a chain asks for in order. Source: load_pose_cond, speech2video.py.
class PoseVideo {
 public:
  PoseVideo(const Request& request, int64_t height, int64_t width)
      : reader_(request.pose_video_url, "pose_video_url"), height_(height), width_(width) {
    double rate = reader_.info().rate.value() / double(request.frames_per_second);
    every_ = std::max<int64_t>(1, int64_t(std::nearbyint(rate)));  // round half to even, as Python does
  }

  /// The next `count` frames, fewer where the video ends: [3, n, H, W] in [-1, 1].
  at::Tensor next(int64_t count) {
    std::vector<at::Tensor> frames = {at::empty({3, 0, height_, width_})};
    while (int64_t(frames.size()) <= count) {
      std::optional<VideoFrame> frame = reader_.next();
      if (!frame) break;
      if (read_++ % every_ == 0) frames.push_back(resize_shorter_side_float(frame->rgb.unsqueeze(0), height_, width_));
    }
    return at::cat(frames, 1);
  }

 private:
  VideoReader reader_;
  int64_t height_, width_, every_ = 1, read_ = 0;
};

/// The file's sound for the muxer: given out as far as the picture has come.
class SoundTrack {
 public:
  SoundTrack(const Request& request, double seconds)
      : reader_(request.audio_url, kField, Mix::Stereo,
                sound_rate(AudioReader(request.audio_url, kField, Mix::Stereo).rate())),
        left_(std::llround(seconds * double(reader_.rate()))) {}

  AudioFormat format() const { return {reader_.rate(), reader_.channels()}; }

  void write_until(VideoWriter& writer, double seconds) {
    while (left_ > 0 && double(written_) < seconds * double(reader_.rate())) {
      at::Tensor piece = reader_.next();
      if (!piece.defined()) return;
      piece = piece.narrow(1, 0, std::min(left_, piece.size(1))).contiguous();
      writer.write_audio(piece);
      left_ -= piece.size(1);
      written_ += piece.size(1);
    }
  }

 private:
  static constexpr const char* kField = "audio_url";
  AudioReader reader_;
  int64_t left_, written_ = 0;
};

/// Takes frames of the chain, in [-1, 1], and hands them to the encoder with their sound.
class SpeechFile {
 public:
  SpeechFile(const Request& request, const SpeechPlan& plan, const Record& record)
      : frames_(plan.frames),
        rate_(double(request.frames_per_second)),
        sound_(request, plan.seconds),
        writer_(request.out, {.height = request.height,
                              .width = request.width,
                              .rate = {request.frames_per_second, 1},
                              .quality = request.video_quality,
                              .write_mode = request.video_write_mode,
                              .metadata = to_text(record),
                              .audio = sound_.format(),
                              .audio_from = ""}),
        sheet_(plan.frames) {}

  void show(const at::Tensor& frames) {
    int64_t count = std::min(frames.size(1), frames_ - shown_);
    if (count <= 0) return;
    at::Tensor rgb = vae::to_uint8(frames.narrow(1, 0, count)).cpu();
    writer_.write(rgb);
    sheet_.add(rgb);
    shown_ += count;
    sound_.write_until(writer_, double(shown_) / rate_);
  }

  void finish(const RenderOptions& options) {
    sound_.write_until(writer_, double(frames_) / rate_ + 1);
    writer_.finish();
    if (!options.contact_sheet.empty()) write_png(options.contact_sheet, sheet_.image());
  }

 private:
  int64_t frames_, shown_ = 0;
  double rate_;
  SoundTrack sound_;
  VideoWriter writer_;
  ContactSheet sheet_;
};

/// A job between its clips: what is encoded once, and the files that a broken run left.
class SpeechJob {
 public:
  SpeechJob(Models& models, const Request& request, const SpeechPlan& plan, SpeechFeatures& features,
            const ClipStore& store, Progress& progress, std::string job)
      : models_(models),
        request_(request),
        plan_(plan),
        features_(features),
        store_(store),
        progress_(progress),
        job_(std::move(job)),
        schedule_(make_schedule(request)) {}

  /// Text, reference picture and clips to frames, which `show` gets in order.
  void run(const at::Tensor& picture, const std::function<void(const at::Tensor&)>& show) {
    TextStates text(models_);
    progress_.at({Stage::Encode, 0, 1, "", job_});
    at::Tensor positive = text(request_.prompt);
    bool guided = request_.guidance_scale > 1;
    guidance_.emplace(models_, positive, guided ? text(request_.negative_prompt) : at::Tensor());
    at::Tensor pixels = picture.permute({2, 0, 1}).unsqueeze(1).to(at::kFloat).div_(255).mul_(2).sub_(1);
    reference_ = encode(pixels);
    if (!request_.pose_video_url.empty()) pose_.emplace(request_, request_.height, request_.width);
    MotionBuffer buffer(request_.height, request_.width, request_.start_from_image ? pixels : at::Tensor());
    chain_clips(plan_.clips, 0, reference_, buffer, plan_.chain,
                {.encode = [&](const at::Tensor& frames) { return encode(frames); },
                 .sample = [&](const ClipTurn& turn) { return sample(turn); },
                 .decode = [&](const at::Tensor& latents, const auto& piece) { decode(latents, piece); },
                 .show = show});
  }

 private:
  at::Tensor encode(const at::Tensor& pixels) { return pixel_latent(models_.vae(), pixels, progress_, job_); }

  void decode(const at::Tensor& latents, const std::function<void(const at::Tensor&)>& piece) {
    vae::DecoderStream stream(models_.vae().decoder);
    for (int64_t i = 0; i < latents.size(1); ++i) {
      progress_.at({Stage::Decode, i, latents.size(1), "", job_});
      piece(decode_chunk(stream, latents, i));
    }
  }

  std::string label(const ClipTurn& turn) const {
    std::string clip = "clip " + std::to_string(turn.number + 1) + "/" + std::to_string(plan_.clips.size());
    return job_.empty() ? clip : job_ + " " + clip;
  }

  /// The clip's latents: from an earlier run's file, else sampled and then kept in one.
  at::Tensor sample(const ClipTurn& turn) {
    at::Device device = models_.target().device;
    // Also of a clip that is there already: the next one goes on in the pose video after it.
    at::Tensor pose = pose_ ? pose_->next(turn.clip.frames) : at::Tensor();
    if (std::optional<at::Tensor> kept = store_.finished(turn.number)) return kept->to(device);
    at::Tensor noise = Noise(turn.seed, models_.target().noise)
                           .draw({vae::kLatentChannels, turn.clip.frames / 4, request_.height / vae::kPixels,
                                  request_.width / vae::kPixels})
                           .to(device);
    std::vector<int64_t> index(plan_.features.begin() + turn.clip.start,
                               plan_.features.begin() + turn.clip.start + turn.clip.frames);
    if (pose.defined()) pose = pose_latents(pose, turn.clip);
    guidance_->begin_clip(reference_, turn.motion_latents, pose, features_.at(index));
    at::Tensor latents = denoise_clip(turn, noise);
    store_.finish(turn.number, latents);
    return latents;
  }

  at::Tensor denoise_clip(const ClipTurn& turn, const at::Tensor& noise) {
    std::optional<Sampling> saved = store_.running(turn.number, request_.solver, schedule_, noise.device());
    Sampling state = saved ? std::move(*saved) : begin_sampling(request_.solver, schedule_, noise);
    auto last = std::chrono::steady_clock::now();
    denoise(state, schedule_, int64_t(schedule_.size()), std::ref(*guidance_), progress_, label(turn),
            [&](const Sampling& now) {
              if (std::chrono::steady_clock::now() - last < kSaveEvery) return;
              store_.save_running(turn.number, now);
              last = std::chrono::steady_clock::now();
            });
    return state.x;
  }

  at::Tensor pose_latents(const at::Tensor& frames, const Clip& clip) {
    return wan::pose_latents(frames, {0, clip.frames}, [&](const at::Tensor& pixels) { return encode(pixels); });
  }

  Models& models_;
  const Request& request_;
  const SpeechPlan& plan_;
  SpeechFeatures& features_;
  const ClipStore& store_;
  Progress& progress_;
  std::string job_;
  std::vector<Step> schedule_;
  std::optional<SpeechGuidance> guidance_;
  std::optional<PoseVideo> pose_;
  at::Tensor reference_;
};

}  // namespace

std::filesystem::path clips_path(const std::filesystem::path& out) {
  return out.string() + ".clips";
}

SpeechPlan plan_speech(const Request& request, int64_t samples, int64_t features_30) {
  const int64_t fps = request.frames_per_second;
  const bool reference = request.preset == "reference";
  SpeechPlan plan;
  plan.chain = {
      .seed = uint64_t(request.seed), .start_from_image = request.start_from_image, .hold_first_frame = !reference};
  if (request.max_seconds > 0) samples = std::clamp<int64_t>(int64_t(request.max_seconds * kRate), 1, samples);
  if (reference) {
    plan.clips = reference_clips(features_30, fps, request.rendered_frames());
    if (request.max_seconds > 0) {
      int64_t most = (int64_t(std::ceil(request.max_seconds * double(fps))) + request.rendered_frames() - 1) /
                     request.rendered_frames();
      plan.clips = reference_clips(features_30, fps, request.rendered_frames(), std::max<int64_t>(1, most));
    }
    plan.frames = chained_frames(plan.clips, plan.chain);
    // The reference muxes with -shortest: the picture ends with the sound.
    plan.frames = std::min(plan.frames, frames_for(samples, kRate, fps));
  } else if (request.num_frames_given) {
    plan.clips = {{0, request.rendered_frames()}};
    plan.frames = request.num_frames;
  } else {
    plan.frames = frames_for(samples, kRate, fps);
    plan.clips = shared_clips(plan.frames, request.rendered_frames());
  }
  int64_t total = plan.clips.back().start + plan.clips.back().frames;
  plan.features = feature_index(features_30, fps, total);
  plan.seconds = std::min(double(samples) / kRate, double(plan.frames) / double(fps));
  return plan;
}

void speak(Models& models, const Request& asked, const Record& record, const std::filesystem::path& work,
           const RenderOptions& options, const Log& log, Progress& progress, const std::string& job) {
  Request request = asked;
  FetchedMedia media(request);
  at::Tensor image = read_image(request.image_url, "image_url");
  const Size size = video_size(request, image.size(1), image.size(0));
  request.width = size.width;
  request.height = size.height;
  const ClipStore store(work, record, request);

  SpeechFeatures features(models.audio_encoder(), open_waveform(request.audio_url, "audio_url"));
  SpeechPlan plan = plan_speech(request, features.samples(), features.frames());
  log("job", {{"task", "s2v"},
              {"seed", request.seed},
              {"width", request.width},
              {"height", request.height},
              {"frames", plan.frames},
              {"clips", plan.clips.size()},
              {"seconds_of_sound", plan.seconds},
              {"device", models.target().device.str()},
              {"dtype", record.dtype},
              {"precision", request.precision}});
  SpeechFile file(request, plan, record);
  SpeechJob(models, request, plan, features, store, progress, job)
      .run(resize_shorter_side(image, request.height, request.width),
           [&](const at::Tensor& frames) { file.show(frames); });
  file.finish(options);
  store.remove();
}

void render_speech(const Request& request, const RenderOptions& options, const Log& log, Progress& progress) {
  Target target = resolve_target(request);
  ModelFolder folder = open_model_folder(request.model, request.task);
  StageClock clock(log, target);
  const Extent extent = largest_extent(request);
  const MemoryNeed need = memory_need(folder, extent, target);
  check_fits(need, extent, target);
  Models models(folder, target, need.working, log);
  remember_attention(target);
  const std::filesystem::path work = clips_path(request.out);
  const Record record = with_kept_seed(make_record(request, target, identities(folder)), work);
  speak(models, record.request, record, work, options, log, progress);
  log_attention(target, log);
  clock.end("clips");
  clock.finish(request.out);
}

}  // namespace wan
