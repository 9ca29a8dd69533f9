#include "engine/job/speech.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/error.h"
#include "engine/frames/vae_clip.h"
#include "engine/job/attention_notes.h"
#include "engine/job/conditioning.h"
#include "engine/job/first_video.h"
#include "engine/job/speech_folder.h"
#include "engine/job/speech_pieces.h"
#include "engine/job/task.h"
#include "engine/job/text_states.h"
#include "engine/media/audio_reader.h"
#include "engine/media/image_reader.h"
#include "engine/media/resize.h"
#include "engine/request/params.h"
#include "engine/residency/unchanged.h"
#include "engine/sampling/noise.h"
#include "engine/speech/guidance.h"
#include "engine/speech/pose_video.h"
#include "engine/speech/sound_notes.h"
#include "engine/speech/waveform.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

/// What a job is made from, opened and checked before a network is loaded.
struct SpeechInputs {
  Geometry geometry = {};
  at::Tensor image = {};  // uint8 [h, w, 3]
  Waveform sound = {};
  std::optional<PoseVideo> pose = {};
};

/// Seconds from the start of a sound that the clips show at most.
double most_shown(const Request& request, const Geometry& geometry) {
  const SpeechPlan longest = plan_speech(request, geometry, kMostAudioSeconds * kSpeechRate, kMostAudioSeconds * 30);
  return double(longest.features.size()) / double(request.frames_per_second);
}

/// What encoders add to the ends of a sound, in seconds: two frames of MP3 at 8 kHz, and what a decoder needs before them.
constexpr double kPadding = 0.25;

/// Throws InvalidRequest for a sound that is longer than the request takes.
void check_longest(const Request& request, const InputFiles& files, const Waveform& sound) {
  const double most = request.most_audio_seconds;
  if (most == 0 || double(sound.samples) / kSpeechRate <= most + kPadding) return;
  throw InvalidRequest("audio_url", "must be a sound of at most " + number_text(most) + " s, got " +
                                        files.audio.shown() + ", which lasts more than " + number_text(most) +
                                        " s; give a shorter one");
}

/// Which of sound, poses and video ends before the others.
void note_lengths(const Request& request, const SpeechInputs& inputs, Notes& notes) {
  const int64_t samples = inputs.sound.samples;
  const SpeechPlan plan = plan_speech(request, inputs.geometry, samples, samples * 30 / kSpeechRate);
  const double shown = double(plan.frames) / double(request.frames_per_second);
  if (request.preset == "reference")
    note_reference_length(inputs.sound, shown, notes);
  else if (request.num_frames_given)
    note_length(inputs.sound, shown, plan.seconds, notes);
  if (inputs.pose) inputs.pose->note_end(shown, notes);
}

SpeechInputs load_speech(const Request& request, const InputFiles& files, Notes& notes, Progress& progress,
                         const std::string& label) {
  SpeechInputs inputs{.geometry = asked_geometry(request), .image = read_image(files.image, &notes)};
  const Size size = video_size(request, inputs.image.size(1), inputs.image.size(0));
  inputs.geometry.width = size.width;
  inputs.geometry.height = size.height;
  note_cropping("image_url", {inputs.image.size(1), inputs.image.size(0)}, inputs.geometry, notes,
                "a picture whose sides have the same ratio is kept whole");
  if (!files.pose_video.path.empty()) {
    inputs.pose.emplace(files.pose_video, request, size.height, size.width);
    const VideoInfo& poses = inputs.pose->info();
    note_cropping("pose_video_url", {poses.width, poses.height}, inputs.geometry, notes,
                  "a pose video of the picture's shape is kept whole");
    inputs.pose->tell(notes);
  }
  // Of a longer one enough is read to see that it is longer.
  const double longest = request.most_audio_seconds > 0 ? request.most_audio_seconds + 2 * kPadding : 0;
  const double needed = std::max(most_shown(request, inputs.geometry), longest);
  inputs.sound = open_waveform(files.audio, needed, [&](double seconds, double all) {
    progress.at({Stage::Load, int64_t(seconds), int64_t(std::max(seconds, all)), "", label});
  });
  if (inputs.sound.samples < kFewestSamples) refuse_short_sound(inputs.sound.samples);
  check_longest(request, files, inputs.sound);
  note_sound(inputs.sound, notes);
  note_lengths(request, inputs, notes);
  return inputs;
}

/// A job between its clips: what is encoded once, and the files that a broken run left.
class SpeechJob {
 public:
  SpeechJob(Networks& networks, const Job& job, const SpeechPlan& plan, SpeechFeatures& features,
            const SpeechFolder& folder, const Run& run, ResidualMeter* meter)
      : networks_(networks),
        loras_(*job.loras),
        request_(job.request),
        schedule_(*job.schedule),
        plan_(plan),
        features_(features),
        folder_(folder),
        run_(run),
        reuse_(job.reuse),
        meter_(meter),
        key_(job.key),
        noise_device_(job.placement.noise),
        chain_(chain_of(job.request, job.interpolator->part, job.placement)) {}

  /// Text, reference picture and clips to pieces in the store: those that are not there yet. `pose` may be null.
  void run(const at::Tensor& picture, PoseVideo* pose) {
    const int64_t first = folder_.finished(), all = int64_t(plan_.clips.size());
    if (first == all) return;
    TextStates text(networks_);
    networks_.expect(Network::Speech);
    const bool guided = request_.guidance_scale > 1;
    const int64_t texts = guided ? 2 : 1;
    const auto encoded = [&](int64_t count) { run_.progress.at({Stage::Encode, count, texts, "", run_.label}); };
    encoded(0);
    const at::Tensor positive = text(request_.prompt);
    if (guided) encoded(1);
    const at::Tensor negative = guided ? text(request_.negative_prompt) : at::Tensor();
    encoded(texts);
    check_unchanged(loras_.parts, kLoraPart);
    begin_cache();
    guidance_.emplace(
        networks_, positive, negative,
        ForwardOptions{
            .adapters = loras_.loras.in_steps(request_), .skipping = &skipping_, .cache = &*cache_, .meter = meter_});
    at::Tensor pixels = picture.permute({2, 0, 1}).unsqueeze(1).to(at::kFloat).div_(255).mul_(2).sub_(1);
    reference_ = encode(pixels);
    pose_ = pose;
    if (pose_) pose_->skip(plan_.clips[first].start);
    MotionBuffer buffer = first > 0 ? folder_.motion()
                                    : MotionBuffer(plan_.geometry.height, plan_.geometry.width,
                                                   request_.start_from_image ? pixels : at::Tensor());
    SpeechPieces pieces(request_, plan_, folder_, first, chain_, run_.log);
    chain_clips(plan_.clips, first, reference_, buffer, plan_.chain,
                {.encode = [&](const at::Tensor& frames) { return encode(frames); },
                 .sample = [&](const ClipTurn& turn) { return sample(turn); },
                 .decode = [&](const at::Tensor& latents, const auto& piece) { decode(latents, piece); },
                 .show = [&](const at::Tensor& frames) { pieces.show(frames); },
                 .finished =
                     [&](int64_t clip, const MotionBuffer& motion) {
                       check_not_rewritten(networks_.parts());
                       check_not_rewritten(loras_.parts);
                       pieces.finish_clip();
                       folder_.finish(clip, clip + 1 < all ? motion.frames() : at::Tensor(), attention(),
                                      skipping_.counted(), clip + 1 < all ? pieces.last_frame() : at::Tensor(),
                                      pieces.quality());
                     }});
    if (chain_.how.is_on()) log_pairs(chain_.how, pieces.counts(), run_.log);
  }

 private:
  /// What computed the clips so far, also before a break: goes with each file that a broken run goes on from.
  AttentionChoices attention() const {
    AttentionChoices choices = folder_.attention();
    choices.merge(networks_.placement().context->choices());
    return choices;
  }

  at::Tensor encode(const at::Tensor& pixels) {
    return encode_in_range(
        networks_, [&](const vae::Vae& vae, int64_t tile_rows) { return pixel_latent(vae, pixels, run_, tile_rows); });
  }

  void decode(const at::Tensor& latents, const std::function<void(const at::Tensor&)>& piece) {
    ClipDecoder decoder(networks_);
    for (int64_t i = 0; i < latents.size(1); ++i) {
      run_.progress.at({Stage::Decode, i, latents.size(1), "", run_.label});
      piece(decode_chunk(decoder, latents, i));
    }
  }

  Run run_of(const ClipTurn& turn) const {
    Run run = run_;
    const std::string clip = "clip " + std::to_string(turn.number + 1) + "/" + std::to_string(plan_.clips.size());
    run.label = run.label.empty() ? clip : run.label + " " + clip;
    return run;
  }

  /// The clip's latents: from an earlier run's file, else sampled and then kept in one.
  at::Tensor sample(const ClipTurn& turn) {
    at::Device device = networks_.placement().device;
    skipping_ = Skipping(folder_.skipped(turn.number));
    // Also where the latents are there already: the next clip goes on in the pose video after this one.
    at::Tensor pose = pose_ ? pose_->next(turn.clip.frames) : at::Tensor();
    if (std::optional<at::Tensor> kept = folder_.latents(turn.number)) return kept->to(device);
    at::Tensor noise = Noise(turn.seed, noise_device_)
                           .draw({vae::kLatentChannels, turn.clip.frames / 4, plan_.geometry.height / vae::kPixels,
                                  plan_.geometry.width / vae::kPixels})
                           .to(device);
    std::vector<int64_t> index(plan_.features.begin() + turn.clip.start,
                               plan_.features.begin() + turn.clip.start + turn.clip.frames);
    if (pose.defined()) pose = pose_latents(pose, turn.clip);
    guidance_->begin_clip(reference_, turn.motion_latents, pose, features_.at(index));
    at::Tensor latents = denoise_clip(turn, noise);
    check_not_rewritten(networks_.parts());
    check_not_rewritten(loras_.parts);
    folder_.save_latents(turn.number, latents, attention(), skipping_.counted());
    return latents;
  }

  /// Empty, in its place: the guidance holds it.
  void begin_cache() { cache_.emplace(reuse_, networks_.placement().dtype, run_.log, run_.label); }

  at::Tensor denoise_clip(const ClipTurn& turn, const at::Tensor& noise) {
    const FreshNoise fresh{turn.seed, noise_device_};
    std::optional<Sampling> saved = folder_.running(turn.number, schedule_, noise.device(), fresh);
    const bool goes_on = saved.has_value();
    Sampling state = goes_on ? std::move(*saved) : begin_sampling(schedule_, noise, fresh);
    if (meter_) meter_->begin(key_ + " " + std::to_string(turn.number), schedule_);
    if (meter_ && goes_on) meter_->load(std::exchange(state.cache, {}), state.next(), noise.device());
    begin_cache();
    cache_->load(std::exchange(state.cache, {}), schedule_, noise.device());
    denoise_and_save(state, schedule_, schedule_.size(), std::ref(*guidance_), run_of(turn), [&](const Sampling& now) {
      check_not_rewritten(networks_.parts());
      check_not_rewritten(loras_.parts);
      folder_.save_running(turn.number,
                           {now.x, now.solver, meter_ ? meter_->save(now.next()) : cache_->save(schedule_, now.next())},
                           attention(), skipping_.counted());
    });
    if (meter_) meter_->end();
    return state.x;
  }

  at::Tensor pose_latents(const at::Tensor& frames, const Clip& clip) {
    return wan::pose_latents(frames, {0, clip.frames}, [&](const at::Tensor& pixels) { return encode(pixels); });
  }

  Networks& networks_;
  const UsedLoras& loras_;
  const Request& request_;
  const Schedule& schedule_;
  const SpeechPlan& plan_;
  SpeechFeatures& features_;
  const SpeechFolder& folder_;
  const Run& run_;
  const StepReuse& reuse_;
  ResidualMeter* const meter_;
  const std::string key_;  // names its clips for the meter
  const at::Device noise_device_;
  const FrameChain chain_;
  Skipping skipping_;
  std::optional<StepCache> cache_;  // of the clip
  std::optional<SpeechGuidance> guidance_;
  PoseVideo* pose_ = nullptr;
  at::Tensor reference_;
};

void log_plan(const Job& job, const SpeechPlan& plan, const SpeechFolder& kept, const Log& log) {
  log("job", {{"task", "s2v"},
              {"seed", job.request.seed},
              {"width", plan.geometry.width},
              {"height", plan.geometry.height},
              {"frames", plan.frames},
              {"clips", plan.clips.size()},
              {"clips_finished_before", kept.finished()},
              {"seconds_of_sound", plan.seconds},
              {"device", job.placement.device.str()},
              {"dtype", job.record.dtype},
              {"precision", job.request.precision},
              {"weights", job.request.weights}});
}

/// What an earlier run left of the job, where it left anything.
void tell_resumed(const Job& job, const SpeechPlan& plan, const SpeechFolder& kept, const Log& log) {
  const int64_t clip = kept.finished(), all = int64_t(plan.clips.size());
  const std::optional<int64_t> step = kept.running_step(clip);
  const int64_t sampled = kept.sampled();
  if (clip == 0 && !step && sampled == 0) return;
  std::string from = "goes on from clip " + std::to_string(clip + 1) + " of " + std::to_string(all);
  if (clip >= all)
    from = "goes on with joining: all " + std::to_string(all) + " clips are finished";
  else if (sampled > 1)
    from += ", with the decoding of " + std::to_string(sampled) + " clips";
  else if (sampled == 1)
    from += ", with its decoding";
  else if (step)
    from += ", step " + std::to_string(*step + 1) + " of " + std::to_string(job.schedule->size());
  log("resume", {{"out", job.result.name}, {"text", from}});
}

/// What was measured of all clips; nothing where that was nothing.
std::optional<QualityNumbers> quality_of(const SpeechFolder& kept) {
  const at::Tensor state = kept.quality();
  if (!state.defined()) return std::nullopt;
  QualityStep step;
  step.restore(state);
  return step.result();
}

}  // namespace

SpeechPlan plan_speech(const Request& request, const Geometry& geometry, int64_t samples, int64_t features_30) {
  const int64_t fps = request.frames_per_second;
  const bool reference = request.preset == "reference";
  SpeechPlan plan;
  plan.geometry = geometry;
  plan.chain = {.seed = request.seed, .start_from_image = request.start_from_image, .hold_first_frame = !reference};
  if (request.max_seconds > 0) samples = std::clamp<int64_t>(int64_t(request.max_seconds * kSpeechRate), 1, samples);
  if (reference) {
    plan.clips = reference_clips(features_30, fps, request.rendered_frames());
    if (request.max_seconds > 0) {
      int64_t most = (int64_t(std::ceil(request.max_seconds * double(fps))) + request.rendered_frames() - 1) /
                     request.rendered_frames();
      plan.clips = reference_clips(features_30, fps, request.rendered_frames(), std::max<int64_t>(1, most));
    }
    plan.frames = chained_frames(plan.clips, plan.chain);
    // The reference muxes with -shortest: the picture ends with the sound.
    plan.frames = std::min(plan.frames, frames_for(samples, kSpeechRate, fps));
  } else if (request.num_frames_given) {
    plan.clips = {{0, request.rendered_frames()}};
    plan.frames = request.num_frames;
  } else {
    plan.frames = frames_for(samples, kSpeechRate, fps);
    plan.clips = shared_clips(plan.frames, request.rendered_frames());
  }
  // The reference renders one clip more where the sound fills the last one, and then shows nothing of it.
  while (plan.clips.size() > 1 && chained_frames({plan.clips.begin(), plan.clips.end() - 1}, plan.chain) >= plan.frames)
    plan.clips.pop_back();
  int64_t total = plan.clips.back().start + plan.clips.back().frames;
  plan.features = feature_index(features_30, fps, total);
  plan.seconds = std::min(double(samples) / kSpeechRate, double(plan.frames) / double(fps));
  return plan;
}

void check_speech(const Request& request, const InputFiles& files, Notes& notes, Progress& progress) {
  load_speech(request, files, notes, progress, "");
}

VideoFindings speak(Networks& networks, Job& job, const InputFiles& files, const std::filesystem::path& folder,
                    const Run& run, ResidualMeter* meter) {
  SpeechInputs inputs = load_speech(job.request, files, job.notes, run.progress, run.label);
  const SpeechFolder kept(folder, run.log, job.chain);
  // Before any network runs. In a batch this also ends the choices of the job before.
  AttentionChoices pinned = kept.attention();
  pinned.insert(job.attention.begin(), job.attention.end());
  leave_out_unknown(pinned, job.placement.device, job.notes);
  networks.placement().context->pin(pinned);
  SpeechFeatures features(networks.audio_encoder(), inputs.sound, [&](int64_t done, int64_t all) {
    run.progress.at({Stage::Encode, done, all, "", run.label});
  });
  const SpeechPlan plan = plan_speech(job.request, inputs.geometry, features.samples(), features.frames());
  log_plan(job, plan, kept, run.log);
  tell_resumed(job, plan, kept, run.log);
  log_skipping(job.request, *job.schedule, job.placement, run.log);
  log_reuse(job.reuse, reuse_bounds(job.request.task), run.log);
  SpeechJob chain(networks, job, plan, features, kept, run, meter);
  chain.run(resize_shorter_side(inputs.image, plan.geometry.height, plan.geometry.width),
            inputs.pose ? &*inputs.pose : nullptr);
  if (inputs.pose) inputs.pose->tell(job.notes);
  Record whole = job.record;
  whole.attention = kept.attention();
  whole.skipped = kept.skipped(kept.finished());
  log_skipped(whole.skipped, run.log);
  whole.vae_tiles = told_tiles(networks, run.log);
  whole.drawing = details_of(chain_of(job.request, job.interpolator->part, job.placement), plan.geometry.height,
                             plan.geometry.width);
  whole.notes = job.notes.list();
  add_retry(job, whole);
  if (quality_check_of(job.request) != QualityCheck::Off) whole.quality = quality_of(kept);
  OutputSafety safety = output_safety(job.request, job.safety, job.record.safety);
  safety.named_after = job.request.out;
  return join_speech(job.target(), plan, files.audio, whole, kept, job.output, run, safety, job.placement);
}

}  // namespace wan
