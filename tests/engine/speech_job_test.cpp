// Speech to video as a job: which clips a sound gives, what its folder keeps, and files of the tiny checkpoint.
#include "engine/job/speech.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/job/clip_store.h"
#include "engine/media/audio_reader.h"
#include "engine/media/png.h"
#include "engine/media/video_reader.h"
#include "engine/request/error.h"
#include "engine/request/parse.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kModel = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints/Wan2.2-S2V-14B";

/// A tone that comes and goes, as 16-bit mono.
void write_sound(const std::string& path, uint32_t rate, double seconds) {
  const auto samples = int64_t(std::llround(seconds * rate));
  at::Tensor time = at::arange(samples, at::kDouble) / double(rate);
  at::Tensor wave = ((time * 1400).sin() * (time * 7).sin() * 12000).to(at::kShort).contiguous();
  std::string bytes = "RIFF....WAVEfmt ";
  auto put = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  put(uint32_t(16)), put(uint16_t(1)), put(uint16_t(1)), put(rate), put(rate * 2), put(uint16_t(2)), put(uint16_t(16));
  bytes += "data";
  put(uint32_t(samples * 2));
  bytes.append(reinterpret_cast<const char*>(wave.data_ptr()), size_t(samples) * 2);
  const auto rest = uint32_t(bytes.size() - 8);
  std::memcpy(bytes.data() + 4, &rest, sizeof rest);
  write_bytes(path, bytes);
}

/// A request over a picture and a sound in a folder of its own.
struct Scene {
  Scene(uint32_t rate, double seconds) {
    write_png(folder / "face.png", moving_picture(1, 64, 64)[0]);
    write_sound(folder / "voice.wav", rate, seconds);
  }

  Request request(nlohmann::json more = nlohmann::json::object()) const {
    nlohmann::json fields = {{"model", kModel.string()},
                             {"prompt", "a face"},
                             {"image_url", "face.png"},
                             {"audio_url", "voice.wav"},
                             {"out", "speech.mp4"},
                             {"width", 64},
                             {"height", 64},
                             {"unlocked", true},
                             {"num_inference_steps", 2},
                             {"guidance_scale", 1},
                             {"device", "cpu"}};
    fields.update(more);
    return parse(Task::S2V, fields, {.folder = folder.path()});
  }

  std::string out() const { return folder / "speech.mp4"; }
  TemporaryFolder folder;
};

/// Stops like Ctrl-C before denoising step `stop_at`.
struct Steps : Progress {
  explicit Steps(int64_t stop_at = INT64_MAX) : stop_at(stop_at) {}
  void at(const Report& report) override {
    if (report.stage == Stage::Denoise && made++ == stop_at) throw Cancelled();
  }
  int64_t made = 0, stop_at;
};

std::string rendered(const Request& request, Progress& progress) {
  c10::InferenceMode inference;
  render_speech(request, {}, Log{}, progress);
  return bytes_of(request.out);
}

int64_t frames_of(const std::string& path) {
  VideoReader reader(path, "video_url");
  int64_t frames = 0;
  while (reader.next()) ++frames;
  return frames;
}

/// The plan of `seconds` of sound at 16 kHz.
SpeechPlan plan_of(const Request& request, double seconds) {
  const auto samples = int64_t(seconds * 16000);
  return plan_speech(request, samples, feature_frames_30((samples - 400) / 320 + 1));
}

TEST(PlanSpeech, RendersTheWholeSoundInClipsThatShareTheRest) {
  const Scene scene(16000, 1);
  const SpeechPlan six = plan_of(scene.request(), 6);  // 96 frames: 80 and 16 would leave the last clip too short
  EXPECT_EQ(six.clips, (std::vector<Clip>{{0, 48}, {48, 48}}));
  EXPECT_EQ(six.frames, 96);
  EXPECT_EQ(six.features.size(), 96u);
  EXPECT_EQ(six.features[1], 2);  // the sound of the time at which the frame is shown: 1 / 16 s at 30 features a second
  EXPECT_TRUE(six.chain.hold_first_frame);

  const SpeechPlan one = plan_of(scene.request(), 1);  // renders the shortest clip and cuts it
  EXPECT_EQ(one.clips, (std::vector<Clip>{{0, 40}}));
  EXPECT_EQ(one.frames, 16);
  EXPECT_EQ(one.seconds, 1);
}

TEST(PlanSpeech, KeepsLipsInStepAtOtherRates) {
  const SpeechPlan plan = plan_of(Scene(16000, 1).request({{"frames_per_second", 30}}), 2);
  EXPECT_EQ(plan.frames, 60);
  EXPECT_EQ(plan.features[7], 7);
}

TEST(PlanSpeech, NumFramesIsClipAndLengthAtOnce) {
  const SpeechPlan plan = plan_of(Scene(16000, 1).request({{"num_frames", 42}}), 10);
  EXPECT_EQ(plan.clips, (std::vector<Clip>{{0, 44}}));
  EXPECT_EQ(plan.frames, 42);
  EXPECT_EQ(plan.seconds, 42. / 16);
}

TEST(PlanSpeech, MaxSecondsCapsTheSound) {
  const Scene scene(16000, 1);
  EXPECT_EQ(plan_of(scene.request({{"max_seconds", 2.5}}), 10).frames, 40);
  EXPECT_EQ(plan_of(scene.request({{"max_seconds", 2.5}}), 1).frames, 16);
  EXPECT_EQ(plan_of(scene.request({{"max_seconds", 1e-6}}), 10).frames, 1);
}

TEST(PlanSpeech, ReferenceDropsThreeFramesAndEndsWithTheSound) {
  const Request request = Scene(16000, 1).request({{"preset", "reference"}});
  const SpeechPlan ten = plan_of(request, 10);
  EXPECT_EQ(ten.clips, (std::vector<Clip>{{0, 80}, {80, 80}}));
  EXPECT_FALSE(ten.chain.hold_first_frame);
  EXPECT_EQ(ten.frames, 157);
  EXPECT_EQ(ten.seconds, 157. / 16);
  EXPECT_EQ(plan_of(request, 3).frames, 48);
}

TEST(ClipStore, HandsAStateToItsOwnClipOnly) {
  c10::InferenceMode inference;
  const Scene scene(16000, 1);
  const Request request = scene.request();
  const Record record = make_record(request, resolve_target(request), {});
  const ClipStore store(scene.folder / "clips", record, request);
  const std::vector<Step> schedule = make_schedule(request);
  store.save_running(0, begin_sampling(request.solver, schedule, at::ones({16, 10, 8, 8})));
  EXPECT_TRUE(store.running(0, request.solver, schedule, at::kCPU).has_value());
  EXPECT_FALSE(store.running(1, request.solver, schedule, at::kCPU).has_value());
  EXPECT_FALSE(store.finished(0).has_value());
  store.finish(0, at::ones({16, 10, 8, 8}));
  EXPECT_FALSE(store.running(0, request.solver, schedule, at::kCPU).has_value());
  EXPECT_TRUE(store.finished(0).has_value());
}

TEST(ClipStore, ForgetsClipsOfAnotherSoundUnderTheSameName) {
  const Scene scene(16000, 1);
  const Request request = scene.request();
  const Record record = make_record(request, resolve_target(request), {});
  const fs::path work = scene.folder / "clips";
  ClipStore(work, record, request).finish(0, at::ones({1}));
  EXPECT_TRUE(ClipStore(work, record, request).finished(0).has_value());
  write_sound(request.audio_url, 16000, 2);
  EXPECT_FALSE(ClipStore(work, record, request).finished(0).has_value());
}

TEST(ClipStore, KeepsASeedThatNobodyChose) {
  const Scene scene(16000, 1);
  const Request request = scene.request();
  const fs::path work = scene.folder / "clips";
  auto record_of = [](const Request& asked) { return make_record(asked, resolve_target(asked), {}); };
  ClipStore(work, record_of(request), request);
  Request again = request;
  again.seed = request.seed + 1;  // drawn anew
  EXPECT_EQ(with_kept_seed(record_of(again), work).request.seed, request.seed);
  again.prompt = "another face";
  EXPECT_EQ(with_kept_seed(record_of(again), work).request.seed, again.seed);
  again.prompt = request.prompt;
  again.seed_given = true;
  EXPECT_EQ(with_kept_seed(record_of(again), work).request.seed, again.seed);
}

// 192 kHz is more than AAC takes: the track is resampled, and still as long as the picture.
TEST(RenderSpeech, FileLastsAsLongAsItsSound) {
  const Scene scene(192000, 1.03);
  Steps progress;
  rendered(scene.request(), progress);
  const int64_t frames = frames_of(scene.out());
  EXPECT_EQ(frames, 17);
  const Audio sound = read_audio(scene.out(), "audio_url", 48000);
  const double seconds = double(sound.samples.numel()) / 48000;
  EXPECT_NEAR(seconds, double(frames) / 16, 1. / 16);
  // The tone begins with the file: as loud in its first tenth of a second as in the source, sin(7 t).
  const Audio source = read_audio(scene.folder / "voice.wav", "audio_url", 48000);
  auto loudness = [](const Audio& audio) { return audio.samples.narrow(0, 0, 4800).square().mean().item<double>(); };
  EXPECT_NEAR(loudness(sound) / loudness(source), 1, 0.1);
}

TEST(RenderSpeech, GoesOnWithTheSameBytes) {
  const Scene scene(16000, 5.1);  // 82 frames: 44 and 40
  const Request request = scene.request({{"seed", 7}});
  Steps whole;
  const std::string want = rendered(request, whole);
  EXPECT_EQ(whole.made, 4);
  fs::remove(scene.out());

  Steps broken(3);
  EXPECT_THROW(rendered(request, broken), Cancelled);
  EXPECT_FALSE(fs::exists(scene.out()));
  EXPECT_TRUE(fs::exists(clips_path(scene.out())));
  Steps rest;
  EXPECT_EQ(rendered(request, rest), want);
  EXPECT_EQ(rest.made, 2);  // of the second clip alone
  EXPECT_FALSE(fs::exists(clips_path(scene.out())));
}

TEST(RenderSpeech, RefusesASoundTooShortToHear) {
  const Scene scene(16000, 0.03);
  Steps progress;
  EXPECT_THROW(rendered(scene.request(), progress), InvalidRequest);
}

}  // namespace
}  // namespace wan
