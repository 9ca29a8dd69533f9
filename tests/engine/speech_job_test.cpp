// Speech to video as a job: which clips a sound gives, what its folder keeps, and files of the tiny checkpoint.
#include "engine/job/speech.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/job/speech_folder.h"
#include "engine/job/speech_pieces.h"
#include "engine/media/audio_reader.h"
#include "engine/media/metadata.h"
#include "engine/media/png.h"
#include "engine/media/video_reader.h"
#include "engine/media/writer.h"
#include "engine/request/parse.h"
#include "models/weights/format/safetensors.h"
#include "tests/engine/media_support.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kModel = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints/Wan2.2-S2V-14B";

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

std::string rendered(const Request& request, Progress& progress, const Log& log = {},
                     const SingleOptions& options = {}) {
  c10::InferenceMode inference;
  return bytes_of(render(request, options, log, progress));
}

/// The record of `request`.
Record record_of(const Request& request) {
  return make_record(request, resolve_placement(request), identities(parts_of(request.model, request.task)));
}

/// The clips of the unfinished run that makes `out`.
fs::path clips_of(const std::string& out) {
  for (const auto& entry : fs::directory_iterator(WorkFolder::beside(out)))
    if (entry.path().extension() == ".clips") return entry.path();
  ADD_FAILURE() << "no clips beside " << out;
  return "";
}

/// Puts `choices` into what a broken run kept of its clip, as a run on a card would have.
void note_in_sampling(const Request& request, int64_t clip, const AttentionChoices& choices) {
  c10::InferenceMode inference;
  const SpeechFolder folder(clips_of(request.out));
  std::optional<Sampling> state = folder.running(clip, make_schedule(request), at::kCPU);
  ASSERT_TRUE(state.has_value());
  folder.save_running(clip, *state, choices);
}

/// A moving picture of the scene's size, as a speech job writes its pieces.
void write_piece(const std::string& path, int64_t frames) {
  VideoWriter writer(path, {.height = 64, .width = 64});
  writer.write(moving_picture(frames, 64, 64));
  writer.finish();
}

/// The text of the error with which `work` ends; empty where it does not.
std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

int64_t frames_of(const std::string& path) {
  VideoReader reader({path, "video_url"});
  int64_t frames = 0;
  while (reader.next()) ++frames;
  return frames;
}

/// The plan of `seconds` of sound at 16 kHz.
SpeechPlan plan_of(const Request& request, double seconds) {
  const auto samples = int64_t(seconds * 16000);
  return plan_speech(request, asked_geometry(request), samples, feature_frames_30((samples - 400) / 320 + 1));
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

TEST(SpeechFolder, HandsAStateToItsOwnClipOnly) {
  c10::InferenceMode inference;
  const Scene scene(16000, 1);
  const Request request = scene.request();
  const SpeechFolder store(scene.folder / "clips");
  const Schedule schedule = make_schedule(request);
  store.save_running(0, begin_sampling(schedule, at::ones({16, 10, 8, 8})), {});
  EXPECT_TRUE(store.running(0, schedule, at::kCPU).has_value());
  EXPECT_FALSE(store.running(1, schedule, at::kCPU).has_value());
  EXPECT_FALSE(store.latents(0).has_value());
  store.save_latents(0, at::ones({16, 10, 8, 8}), {});
  EXPECT_FALSE(store.running(0, schedule, at::kCPU).has_value());
  EXPECT_TRUE(store.latents(0).has_value());
}

TEST(SpeechFolder, AClipIsFinishedWithItsPieceAndItsMotion) {
  const Scene scene(16000, 1);
  const Request request = scene.request();
  const fs::path work = scene.folder / "clips";
  const SpeechFolder store(work);
  const at::Tensor motion = at::rand({3, MotionBuffer::kFrames, 8, 8});
  store.save_latents(0, at::ones({1}), {});
  write_bytes(store.piece(0), "piece");
  EXPECT_EQ(store.finished(), 0) << "the next clip needs the motion frames";
  store.finish(0, at::zeros_like(motion), {});
  EXPECT_EQ(store.finished(), 1);
  write_bytes(store.piece(1), "piece");
  store.finish(1, motion, {{"case", "back end"}});
  EXPECT_EQ(store.finished(), 2);
  EXPECT_TRUE(at::equal(store.motion().frames(), motion));
  EXPECT_EQ(store.attention().at("case"), "back end");
  EXPECT_FALSE(store.latents(0).has_value());
  write_bytes(store.piece(2), "piece");
  store.finish(2, motion, {});
  EXPECT_EQ(std::distance(fs::directory_iterator(work), {}), 3 + 2) << "three pieces, the last two clips' motion";
}

TEST(SpeechFolder, WhatIsSavedSaysWhatComputedIt) {
  c10::InferenceMode inference;
  const Scene scene(16000, 1);
  const Request request = scene.request();
  const SpeechFolder store(scene.folder / "clips");
  const Sampling state = begin_sampling(make_schedule(request), at::ones({16, 10, 8, 8}));
  EXPECT_EQ(store.attention(), AttentionChoices());
  store.save_running(0, state, {{"text", "flash"}});
  EXPECT_EQ(store.attention(), (AttentionChoices{{"text", "flash"}}));
  store.save_latents(0, state.x, {{"text", "flash"}, {"video", "ours"}});
  EXPECT_EQ(store.attention().size(), 2u);
  write_bytes(store.piece(0), "piece");
  store.finish(0, at::zeros({3, MotionBuffer::kFrames, 8, 8}), {{"text", "flash"}, {"video", "ours"}});
  EXPECT_EQ(store.attention().size(), 2u);
  store.save_running(1, state, {{"text", "flash"}, {"video", "ours"}, {"motion", "cudnn"}});
  EXPECT_EQ(store.attention().size(), 3u);
}

TEST(SpeechFolder, WhatAKillLeavesOfFinishedClipsGoes) {
  c10::InferenceMode inference;
  const Scene scene(16000, 1);
  const Request request = scene.request();
  const fs::path work = scene.folder / "clips";
  const at::Tensor motion = at::zeros({3, MotionBuffer::kFrames, 8, 8});
  {
    const SpeechFolder store(work);
    for (int64_t clip : {0, 1, 2}) {
      write_bytes(store.piece(clip), "piece");
      store.finish(clip, motion, {});
    }
    store.save_latents(3, at::ones({1}), {});
  }
  const auto names = [&] {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(work)) found.insert(entry.path().filename().string());
    return found;
  };
  const std::set<std::string> needed = names();
  EXPECT_EQ(needed, (std::set<std::string>{"clip-00001.mp4", "clip-00002.mp4", "clip-00000.mp4",
                                           "clip-00001.motion.safetensors", "clip-00002.motion.safetensors",
                                           "clip-00003.safetensors"}));
  for (const char* left : {"clip-00003.mp4.part", "clip-00003.safetensors.12345.part", "clip-00000.motion.safetensors",
                           "clip-00000.safetensors", "clip-00002.safetensors", "clip-00002.sampling.safetensors",
                           "clip-00003.sampling.safetensors", "clip-00003.motion.safetensors"})
    write_with_digest(work / left, {{"left", at::ones({1})}});
  write_bytes(work / "mine.part", "not ours");
  const SpeechFolder store(work);
  std::set<std::string> want = needed;
  want.insert("mine.part");
  EXPECT_EQ(names(), want);
  EXPECT_EQ(store.finished(), 3);
}

TEST(SpeechFolder, WhereTheLastMotionIsDamagedTheOneBeforeServes) {
  c10::InferenceMode inference;
  const Scene scene(16000, 1);
  const fs::path work = scene.folder / "clips";
  const auto motion = [](int64_t clip) { return at::full({3, MotionBuffer::kFrames, 8, 8}, double(clip)); };
  const auto damage = [&](int64_t clip) {
    const std::string path = work / ("clip-0000" + std::to_string(clip) + ".motion.safetensors");
    std::string bytes = bytes_of(path);
    bytes.back() ^= 1;
    write_bytes(path, bytes);
  };
  std::vector<std::string> notes;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "note") notes.push_back(fields["text"]);
  }};
  {
    const SpeechFolder store(work);
    for (int64_t clip : {0, 1, 2}) {
      write_bytes(store.piece(clip), "piece");
      store.finish(clip, motion(clip), {{"case " + std::to_string(clip), "back end"}});
    }
  }
  damage(2);
  {
    const SpeechFolder store(work, log);
    EXPECT_EQ(store.finished(), 2) << "one clip is made again, not all";
    EXPECT_TRUE(at::equal(store.motion().frames(), motion(1)));
    EXPECT_EQ(notes, (std::vector<std::string>{
                         "the kept file clip-00002.motion.safetensors is damaged: 1 finished clip is made again"}));
    write_bytes(store.piece(2), "piece");
    store.finish(2, motion(2), {});
    EXPECT_EQ(store.finished(), 3);
  }
  damage(1);
  damage(2);
  notes.clear();
  EXPECT_EQ(SpeechFolder(work, log).finished(), 0);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_NE(notes[1].find("3 finished clips are made again"), std::string::npos) << notes[1];
}

TEST(SpeechFolder, WithAChainLatentsStayForAnother) {
  c10::InferenceMode inference;
  const Scene scene(16000, 1);
  const fs::path work = scene.folder / "clips";
  const at::Tensor latents = at::ones({1});
  const auto names = [&] {
    std::vector<std::string> list;
    for (const auto& entry : fs::directory_iterator(work)) list.push_back(entry.path().filename().string());
    std::sort(list.begin(), list.end());
    return list;
  };
  const auto make = [&](const SpeechFolder& folder, int64_t clip) {
    folder.save_latents(clip, latents, {});
    write_bytes(folder.piece(clip), "piece");
    folder.finish(clip, at::zeros({3, MotionBuffer::kFrames, 8, 8}), {});
  };
  {
    const SpeechFolder film(work, {}, "film");
    for (int64_t clip = 0; clip < 3; ++clip) make(film, clip);
    EXPECT_EQ(film.finished(), 3);
    film.save_latents(3, latents, {});
  }
  {
    const SpeechFolder rife(work, {}, "rife");
    EXPECT_EQ(rife.finished(), 0);
    EXPECT_EQ(rife.sampled(), 4);
    EXPECT_EQ(names(), (std::vector<std::string>{"clip-00000.safetensors", "clip-00001.safetensors",
                                                 "clip-00002.safetensors", "clip-00003.safetensors"}));
    make(rife, 0);
    rife.forget_clips();
    EXPECT_EQ(rife.sampled(), 4);
  }
  {
    const SpeechFolder none(work);
    for (int64_t clip = 0; clip < 3; ++clip) make(none, clip);
    EXPECT_EQ(none.sampled(), 1);
  }
  // What no chain made stays with a chain, too: it cannot be made again.
  const SpeechFolder film(work, {}, "film");
  EXPECT_EQ(film.sampled(), 4);
  EXPECT_EQ(SpeechFolder(work).finished(), 3);
}

// 192 kHz is more than AAC takes: the track is resampled, and still as long as the picture.
TEST(RenderSpeech, FileLastsAsLongAsItsSound) {
  const Scene scene(192000, 1.03);
  Steps progress;
  rendered(scene.request(), progress);
  const int64_t frames = frames_of(scene.out());
  EXPECT_EQ(frames, 17);
  const Audio sound = read_audio({scene.out(), "audio_url"}, 48000);
  const double seconds = double(sound.samples.numel()) / 48000;
  EXPECT_NEAR(seconds, double(frames) / 16, 1. / 16);
  // The tone begins with the file: as loud in its first tenth of a second as in the source, sin(7 t).
  const Audio source = read_audio({scene.folder / "voice.wav", "audio_url"}, 48000);
  auto loudness = [](const Audio& audio) { return audio.samples.narrow(0, 0, 4800).square().mean().item<double>(); };
  EXPECT_NEAR(loudness(sound) / loudness(source), 1, 0.1);
}

/// What ffprobe says of a stream: when it starts and how long it lasts, in seconds.
struct Times {
  double start = -1, duration = -1;
};

Times times(const std::string& path, const std::string& stream) {
  const std::string command = "ffprobe -v error -select_streams " + stream +
                              " -show_entries stream=start_time,duration -of csv=p=0 '" + path + "'";
  FILE* pipe = popen(command.c_str(), "r");
  Times found;
  if (std::fscanf(pipe, "%lf,%lf", &found.start, &found.duration) != 2) ADD_FAILURE() << command;
  pclose(pipe);
  return found;
}

TEST(RenderSpeech, PictureAndSoundStartTogetherAndLastAsLong) {
  for (double seconds : {3., 10.}) {
    const Scene scene(16000, seconds);
    Steps progress;
    rendered(scene.request({{"num_inference_steps", 1}}), progress);
    const Times picture = times(scene.out(), "v:0"), sound = times(scene.out(), "a:0");
    EXPECT_EQ(picture.start, 0);
    EXPECT_EQ(sound.start, 0);
    EXPECT_NEAR(picture.duration, seconds, 1. / 16);
    EXPECT_NEAR(sound.duration, picture.duration, 1. / 16);
  }
}

TEST(RenderSpeech, GoesOnWithTheSameBytes) {
  const Scene scene(16000, 5.1);  // 82 frames: 44 and 40
  write_piece(scene.folder / "pose.mp4", 84);
  const Request request = scene.request({{"seed", 7}, {"pose_video_url", "pose.mp4"}});
  Steps whole;
  const std::string want = rendered(request, whole);
  EXPECT_EQ(whole.made, 4);
  EXPECT_EQ(whole.decoded, (1 + 11) + (19 + 10)) << "latent frames: what leads a clip, and its own";
  fs::remove(scene.out());

  Steps broken(3);
  EXPECT_THROW(rendered(request, broken), Cancelled);
  EXPECT_FALSE(fs::exists(scene.out()));
  EXPECT_TRUE(fs::exists(WorkFolder::beside(scene.out())));
  Steps in_decoding(INT64_MAX, 5);
  EXPECT_THROW(rendered(request, in_decoding), Cancelled);
  EXPECT_EQ(in_decoding.made, 1) << "the second clip's last step alone";
  Steps rest;
  EXPECT_TRUE(rendered(request, rest) == want);
  EXPECT_EQ(rest.made, 0);
  EXPECT_EQ(rest.decoded, 29) << "the first clip is not decoded again";
  EXPECT_FALSE(fs::exists(WorkFolder::beside(scene.out())));
}

TEST(RenderSpeech, AnInterruptWhileItJoinsLosesNothing) {
  const Scene scene(16000, 1);
  const Request request = scene.request({{"seed", 7}});
  Steps joining(Stage::Write), rest;
  EXPECT_THROW(rendered(request, joining), Cancelled);
  EXPECT_FALSE(fs::exists(scene.out()));
  rendered(request, rest);
  EXPECT_EQ(rest.made + rest.decoded, 0);
}

TEST(RenderSpeech, TheSameCommandGoesOnThoughItDrawsItsSeed) {
  const Scene scene(16000, 5.1);
  auto drawn = [&] {
    nlohmann::json fields = to_json(scene.request());
    fields.erase("seed");
    return parse(fields, {.folder = scene.folder.path()});
  };
  const Request first = drawn(), second = drawn();
  ASSERT_NE(first.seed, second.seed);
  Steps broken(3), rest;
  EXPECT_THROW(rendered(first, broken), Cancelled);
  rendered(second, rest);
  EXPECT_EQ(rest.made, 1) << "an interrupt saves what was done";
  EXPECT_TRUE(fs::exists(first.out));
  EXPECT_FALSE(fs::exists(second.out));
}

TEST(RenderSpeech, AttentionOfABrokenRunIsInTheFile) {
  const Scene scene(16000, 1);
  const Request request = scene.request({{"seed", 7}, {"num_inference_steps", 3}});
  Steps first(1), second(1), in_decoding(INT64_MAX, 3), rest;
  EXPECT_THROW(rendered(request, first), Cancelled);
  note_in_sampling(request, 0, {{"a case", "a back end"}});
  EXPECT_THROW(rendered(request, second), Cancelled);
  EXPECT_THROW(rendered(request, in_decoding), Cancelled);
  rendered(request, rest);
  EXPECT_EQ(rest.made, 0);
  EXPECT_EQ(parse_record(read_metadata({request.out, "video"}), "video").attention,
            (AttentionChoices{{"a case", "a back end"}}));
}

TEST(RenderSpeech, TheTilesOfItsClipsHoldAfterAnInterrupt) {
  const Scene scene(16000, 1);
  const Request request = scene.request({{"seed", 7}, {"num_inference_steps", 3}});
  Steps first(1), rest;
  EXPECT_THROW(rendered(request, first), Cancelled);
  const fs::path work = WorkFolder::beside(request.out);
  const std::string name = clips_of(request.out).stem().string();
  WorkFolder(work, WorkFolder::draw_number(work)).note(name, {{"vae_tiles", {{"float16", 0}, {"float32", 128}}}});
  rendered(request, rest);
  EXPECT_EQ(rest.made, 2) << "goes on with the clip";
  EXPECT_EQ(parse_record(read_metadata({request.out, "video"}), "video").vae_tiles, (VaeTiles{0, 128}));
}

TEST(RenderSpeech, AReplayGoesOnWithItsOwnAttentionOnly) {
  const Scene scene(16000, 1);
  const Request request = scene.request({{"seed", 7}});
  const SingleOptions replay{.attention = {{"a case", "flash"}}};
  Steps first(1), replayed(1), rest;
  EXPECT_THROW(rendered(request, first), Cancelled);
  EXPECT_THROW(rendered(request, replayed, {}, replay), Cancelled);
  EXPECT_EQ(replayed.made, 2) << "the other run's step was made with other attention";
  rendered(request, rest, {}, replay);
  EXPECT_EQ(rest.made, 1);
}

TEST(RenderSpeech, ADamagedPieceIsMadeAnew) {
  const Scene scene(16000, 5.1);
  const Request request = scene.request({{"seed", 7}, {"num_inference_steps", 1}});
  Steps whole, broken(1), failing, rest;
  const std::string want = rendered(request, whole);
  fs::remove(request.out);
  EXPECT_THROW(rendered(request, broken), Cancelled);
  write_piece(clips_of(request.out) / "clip-00000.mp4", 20);
  EXPECT_NE(error_of([&] { rendered(request, failing); }).find("must hold 44 frames, holds 20"), std::string::npos);
  EXPECT_FALSE(fs::exists(request.out));
  EXPECT_TRUE(rendered(request, rest) == want);
  EXPECT_EQ(rest.made, 2);
}

TEST(RenderSpeech, AResumedRunSaysHowFarItIs) {
  const Scene scene(16000, 5.1);  // two clips of two steps
  const Request request = scene.request({{"seed", 7}});
  std::vector<std::string> told;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "resume") told.push_back(fields["text"]);
    if (event == "job") told.push_back(std::to_string(fields["clips_finished_before"].get<int64_t>()));
  }};
  const auto stopped_at = [&](Steps steps) {
    told.clear();
    EXPECT_THROW(rendered(request, steps, log), Cancelled);
    return told;
  };
  using Told = std::vector<std::string>;
  EXPECT_EQ(stopped_at(Steps(1)), Told{"0"});
  EXPECT_EQ(stopped_at(Steps(2)), (Told{"0", "goes on from clip 1 of 2, step 2 of 2"}));
  EXPECT_EQ(stopped_at(Steps(INT64_MAX, 3)), (Told{"1", "goes on from clip 2 of 2, step 2 of 2"}));
  EXPECT_EQ(stopped_at(Steps(Stage::Write)), (Told{"1", "goes on from clip 2 of 2, with its decoding"}));
  told.clear();
  Steps rest;
  rendered(request, rest, log);
  EXPECT_EQ(told, (Told{"2", "goes on with joining: all 2 clips are finished"}));
}

TEST(RenderSpeech, ADamagedMotionCostsOneClip) {
  const Scene scene(16000, 10.1);  // 162 frames: three clips
  const Request request = scene.request({{"seed", 7}, {"num_inference_steps", 1}});
  Steps whole, broken(2), rest;
  const std::string want = rendered(request, whole);
  ASSERT_EQ(whole.made, 3);
  fs::remove(request.out);
  EXPECT_THROW(rendered(request, broken), Cancelled);
  const std::string path = clips_of(request.out) / "clip-00001.motion.safetensors";
  std::string bytes = bytes_of(path);
  bytes.back() ^= 1;
  write_bytes(path, bytes);
  std::vector<std::string> told;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "resume" || event == "note") told.push_back(fields["text"]);
    if (event == "job") told.push_back(fields["clips_finished_before"].dump());
  }};
  EXPECT_TRUE(rendered(request, rest, log) == want);
  EXPECT_EQ(rest.made, 2) << "the second clip and the third";
  EXPECT_EQ(told, (std::vector<std::string>{
                      "the kept file clip-00001.motion.safetensors is damaged: 1 finished clip is made again", "1",
                      "goes on from clip 2 of 3"}));
}

TEST(JoinSpeech, APieceThatCannotBeJoinedIsForgotten) {
  c10::InferenceMode inference;
  const Scene scene(16000, 5.1);
  const Request request = scene.request();
  const SpeechPlan plan = plan_of(request, 5.1);
  const Record record = record_of(request);
  for (int64_t damaged : {0, 1}) {
    const SpeechFolder store(scene.folder / "clips");
    for (int64_t clip : {0, 1}) {
      write_piece(store.piece(clip), clip == 0 ? 44 : 38);
      store.finish(clip, {}, {});
    }
    join_speech(request.out, plan, {request.audio_url, "audio_url"}, record, store, {}, QuietRun());
    EXPECT_EQ(frames_of(request.out), 82);
    fs::remove(request.out);
    write_bytes(store.piece(damaged), "no video");
    const std::string error = error_of([&] {
      join_speech(request.out, plan, {request.audio_url, "audio_url"}, record, store, {}, QuietRun());
    });
    EXPECT_NE(error.find(fs::path(store.piece(damaged)).filename().string()), std::string::npos) << error;
    EXPECT_NE(error.find("the same command renders them again"), std::string::npos) << error;
    EXPECT_FALSE(fs::exists(request.out));
    EXPECT_EQ(store.finished(), 0);
  }
}

TEST(RenderSpeech, ABadPoseVideoIsRefusedBeforeAnyWork) {
  const Scene scene(16000, 1);
  write_bytes(scene.folder / "pose.mp4", "no video");
  Steps progress;
  try {
    rendered(scene.request({{"pose_video_url", "pose.mp4"}}), progress);
    ADD_FAILURE();
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.at(0).field, "pose_video_url");
  }
  EXPECT_EQ(progress.reports, 0);
  EXPECT_FALSE(fs::exists(WorkFolder::beside(scene.out())));
}

TEST(RenderSpeech, TellsOfADamagedSound) {
  const Scene scene(16000, 1);
  auto warnings = [&](const std::string& name, const std::string& bytes) {
    write_bytes(scene.folder / name, bytes);
    std::string texts;
    const Log log{[&](std::string_view event, const Log::Fields& fields) {
      if (event == "note") texts += fields["text"].get<std::string>();
    }};
    Steps progress;
    rendered(scene.request({{"audio_url", name}, {"out", name + ".mp4"}}), progress, log);
    return texts;
  };
  std::string sound = bytes_of(media_file("tone.m4a"));
  EXPECT_EQ(warnings("whole.m4a", sound), "");
  sound.replace(sound.find("mdat") + 304, 500, std::string(500, '\xFF'));
  EXPECT_NE(warnings("damaged.m4a", sound).find("the sound is damaged"), std::string::npos);

  {
    VideoWriter writer(scene.folder / "clip.mp4", {.height = 32, .width = 32, .audio = AudioFormat{16000, 1}});
    writer.write(moving_picture(32, 32, 32));
    writer.write_audio(at::rand({1, 32000}));
    writer.finish();
  }
  const std::string clip = bytes_of(scene.folder / "clip.mp4");
  EXPECT_EQ(warnings("whole.mp4", clip), "");
  EXPECT_NE(warnings("cut.mp4", clip.substr(0, clip.size() / 2)).find("the sound ends early"), std::string::npos);
}

// Of a sound that is longer than what the clips show, its length makes no difference to them.
TEST(PlanSpeech, IsThatOfTheWholeSoundWhereItsEndIsNotRead) {
  const Scene scene(16000, 1);
  for (const nlohmann::json& more : std::vector<nlohmann::json>{
           {{"num_frames", 42}}, {{"max_seconds", 7.5}}, {{"max_seconds", 3}, {"preset", "reference"}}}) {
    const SpeechPlan whole = plan_of(scene.request(more), 4000);
    const double needed = double(whole.features.size()) / 16;
    const SpeechPlan cut = plan_of(scene.request(more), needed + 10);
    EXPECT_EQ(cut.clips, whole.clips) << more;
    EXPECT_EQ(cut.features, whole.features) << more;
    EXPECT_EQ(cut.frames, whole.frames) << more;
    EXPECT_EQ(cut.seconds, whole.seconds) << more;
  }
}

TEST(RenderSpeech, IsInterruptedWhileItReadsALongSound) {
  const Scene scene(16000, 61);
  Steps reading(Stage::Load);
  EXPECT_THROW(rendered(scene.request({{"num_frames", 40}}), reading), Cancelled);
  EXPECT_EQ(reading.reports, 1);
}

TEST(RenderSpeech, RefusesASoundThatIsLongerThanTheRequestTakes) {
  const Scene scene(16000, 1.5);
  for (const nlohmann::json& more :
       {nlohmann::json{{"most_audio_seconds", 1}}, nlohmann::json{{"most_audio_seconds", 1}, {"max_seconds", 0.5}},
        nlohmann::json{{"most_audio_seconds", 1}, {"num_frames", 4}}}) {
    Steps progress;
    try {
      rendered(scene.request(more), progress);
      ADD_FAILURE() << more.dump();
    } catch (const InvalidRequest& invalid) {
      EXPECT_EQ(invalid.errors.at(0).field, "audio_url");
      EXPECT_NE(invalid.errors.at(0).wrong.find("lasts more than 1 s"), std::string::npos) << invalid.what();
    }
    EXPECT_EQ(progress.reports, 0) << "nothing was computed";
  }
}

TEST(RenderSpeech, TakesASoundWithAnEncodersPadding) {
  const Scene scene(16000, 1.2);
  Steps progress;
  rendered(scene.request({{"most_audio_seconds", 1}, {"max_seconds", 0.25}}), progress);
  EXPECT_EQ(frames_of(scene.out()), 4) << "it is cut, as max_seconds says";
}

TEST(RenderSpeech, ALongSoundIsNotReadToItsEndToRefuseIt) {
  const Scene scene(16000, 400);
  Steps progress;
  EXPECT_THROW(rendered(scene.request({{"most_audio_seconds", 300}, {"max_seconds", 1}}), progress), InvalidRequest);
  // Reports of minutes that were read: five, and not the sixth.
  EXPECT_EQ(progress.reports, 5);
}

TEST(RenderSpeech, RefusesASoundTooShortToHear) {
  const Scene scene(16000, 0.03);
  Steps progress;
  EXPECT_THROW(rendered(scene.request(), progress), InvalidRequest);
}

}  // namespace
}  // namespace wan
