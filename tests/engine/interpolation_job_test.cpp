// Frames drawn between others in whole jobs: counts, times and rates by the rule, resumed and decoded again, finished
// videos, speech over the borders of its clips, and what is refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/frames/contact_sheet.h"
#include "engine/job/check.h"
#include "engine/job/finish.h"
#include "engine/job/frame_chain.h"
#include "engine/media/image_reader.h"
#include "engine/media/metadata.h"
#include "engine/media/png.h"
#include "engine/media/video_reader.h"
#include "engine/media/writer.h"
#include "engine/request/parse.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/interpolator_file.h"
#include "models/files/error.h"
#include "tests/parts.h"
#include "tests/support/interpolators.h"
#include "tests/support/other_user.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

struct Read {
  std::vector<at::Tensor> frames;
  std::vector<Rational> times;
  VideoInfo info;
  Rational end;
};

Read read(const std::string& path) {
  VideoReader reader({path, "video"});
  Read all;
  all.info = reader.info();
  while (std::optional<VideoFrame> frame = reader.next()) {
    all.frames.push_back(frame->rgb);
    all.times.push_back(frame->time);
    all.end = frame->until;
  }
  return all;
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

class InterpolationJob : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    weights_ = new TemporaryFolder;
    write_interpolator(*weights_ / "film_net.safetensors", "film");
    write_interpolator(*weights_ / "flownet.safetensors", "rife");
  }
  static void TearDownTestSuite() { delete weights_; }

  Request request(nlohmann::json more = nlohmann::json::object()) const {
    nlohmann::json fields = {{"task", "t2v"},
                             {"model", WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano"},
                             {"prompt", "a red circle"},
                             {"unlocked", true},
                             {"width", 64},
                             {"height", 64},
                             {"num_frames", 5},
                             {"num_inference_steps", 2},
                             {"seed", 3},
                             {"device", "cpu"},
                             {"interpolator_model", "none"},
                             {"interpolator", weights_->path().string()},
                             {"out", folder_ / "a.mp4"}};
    fields.update(more);
    for (auto field = fields.begin(); field != fields.end();)
      field = field->is_null() ? fields.erase(field) : std::next(field);
    return parse(fields, {.folder = folder_.path()});
  }
  Request drawn(const std::string& model, int64_t between, nlohmann::json more = nlohmann::json::object()) const {
    more.update({{"interpolator_model", model}, {"num_interpolated_frames", between}});
    return request(more);
  }
  std::string run(const Request& request, Progress& progress, const SingleOptions& options = {}) {
    return render(request, options, log_, progress);
  }
  std::string run(const Request& request) {
    Silent silent;
    return run(request, silent);
  }
  FrameChain chain(const Request& request) const { return chain_of(request, interpolator_of(request), Placement{}); }
  void finish(const Request& request, const std::string& out) {
    Silent silent;
    finish_video(request, out, chain(request), {}, log_, silent);
  }

  static TemporaryFolder* weights_;
  TemporaryFolder folder_;
  std::vector<std::pair<std::string, nlohmann::ordered_json>> told_;
  Log log_{[this](std::string_view event, const Log::Fields& fields) { told_.emplace_back(event, fields); }};

 private:
  c10::InferenceMode inference_;
};
TemporaryFolder* InterpolationJob::weights_ = nullptr;

TEST_F(InterpolationJob, HasCountsTimesAndRatesByTheRuleInAllCombinations) {
  for (const char* model : {"film", "rife"})
    for (int64_t between = 0; between <= 4; ++between)
      for (const bool adjusts : {true, false}) {
        const Request asked =
            drawn(model, between,
                  {{"adjust_fps_for_interpolation", adjusts},
                   {"out", folder_ / (std::string(model) + std::to_string(between) + (adjusts ? "a" : "b") + ".mp4")}});
        const Read got = read(run(asked));
        const int64_t rate = adjusts ? 16 * (between + 1) : 16;
        ASSERT_EQ(int64_t(got.frames.size()), 5 + 4 * between) << model << between << adjusts;
        for (int64_t i = 0; i < int64_t(got.times.size()); ++i)
          EXPECT_EQ(got.times[size_t(i)], (Rational{i, rate})) << model << between << adjusts;
        EXPECT_EQ(got.end, (Rational{5 + 4 * between, rate}));
        const nlohmann::json said = nlohmann::json::parse(read_metadata({asked.out, "out"}));
        EXPECT_EQ(said["request"]["num_interpolated_frames"], between);
        EXPECT_EQ(said.contains("chain"), between > 0);
        if (between > 0) {
          EXPECT_EQ(said["chain"][1]["rate"], std::to_string(rate));
          EXPECT_EQ(said["chain"][1].value("version", ""), model == std::string("rife") ? "4.6" : "");
          Steps none;
          run(asked, none);
          EXPECT_EQ(none.reports, 0) << "it is known as finished";
        }
        int64_t named = 0;
        for (const auto& file : said["files"]) named += file["part"] == "interpolator";
        EXPECT_EQ(named, between > 0);
      }
}

TEST_F(InterpolationJob, NumbersInTheFileAreRightForTheLongestAndFastest) {
  // 161 frames of video to video that keeps its input, at 60 a second, with four between each two.
  const std::string input = folder_ / "in.mp4", out = folder_ / "out.mp4";
  VideoWriter writer(input, {.height = 32, .width = 32, .rate = {60, 1}});
  writer.write(moving_picture(161, 32, 32));
  writer.finish();
  Request asked = parse(Task::V2V,
                        {{"prompt", ""},
                         {"video_url", input},
                         {"interpolator_model", "film"},
                         {"num_interpolated_frames", 4},
                         {"interpolator", weights_->path().string()},
                         {"out", out}},
                        {.need_model = false});
  finish(asked, out);
  const Read got = read(out);
  ASSERT_EQ(got.frames.size(), 801u);
  EXPECT_EQ(got.info.rate, (Rational{300, 1}));
  EXPECT_EQ(got.times.back(), (Rational{800, 300}));
}

TEST_F(InterpolationJob, AClipOfOneFrameStaysOne) {
  const Read got = read(run(drawn("film", 3, {{"num_frames", 1}})));
  EXPECT_EQ(got.frames.size(), 1u);
  EXPECT_EQ(got.info.rate, (Rational{64, 1}));
}

TEST_F(InterpolationJob, LatentsServeEveryChain) {
  // Killed while it is decoded, the same request with another chain goes on with the same latents.
  Steps broken(INT64_MAX, 0), other(INT64_MAX), again;
  EXPECT_THROW(run(drawn("film", 2), broken), Cancelled);
  std::string way;
  for (const auto& [event, fields] : told_)
    if (event == "kept") way = fields.value("or_without", "");
  EXPECT_EQ(way, "--interpolator-model none leaves the clip as it was generated");
  run(drawn("rife", 1), other);
  EXPECT_EQ(other.made, 0) << "no step is made again";
  const Read got = read(folder_ / "a.mp4");
  EXPECT_EQ(got.frames.size(), 9u);
  const nlohmann::json said = nlohmann::json::parse(read_metadata({folder_ / "a.mp4", "out"}));
  EXPECT_EQ(said["request"]["interpolator_model"], "rife");
  std::string files;
  for (const auto& file : said["files"])
    if (file["part"] == "interpolator") files += file["name"].get<std::string>() + " ";
  EXPECT_EQ(files, "flownet.safetensors ") << "not that of the chain before";
  // The finished file is that of its chain: another is another file.
  EXPECT_NE(error_of([&] { run(drawn("film", 2), again); }).find("[out]"), std::string::npos);
}

TEST_F(InterpolationJob, AResumedRunHasTheBytesOfAWholeOne) {
  const Request asked = drawn("film", 2);
  const std::string want = bytes_of(run(asked));
  fs::remove(asked.out);
  Steps broken(1), rest;
  EXPECT_THROW(run(asked, broken), Cancelled);
  EXPECT_EQ(bytes_of(run(asked, rest)), want);
  fs::remove(asked.out);
  Steps decoding(INT64_MAX, 1);
  EXPECT_THROW(run(asked, decoding), Cancelled);
  EXPECT_EQ(bytes_of(run(asked)), want);
  Steps none;
  run(asked, none);
  EXPECT_EQ(none.reports, 0) << "it is known as finished";
}

TEST_F(InterpolationJob, JobsOfABatchThatDifferInTheirChainsShareTheirSteps) {
  const Request plain = request({{"out", folder_ / "plain.mp4"}}),
                film = drawn("film", 1, {{"out", folder_ / "film.mp4"}});
  WorkFolder work(folder_ / "work", WorkFolder::draw_number(folder_ / "work"));
  Steps steps;
  const RunResult result =
      run_jobs({{.line = 1, .request = plain}, {.line = 2, .request = film}}, work, {}, log_, steps);
  EXPECT_EQ(result.count(JobState::Done), 2);
  EXPECT_EQ(steps.made, 2) << "those of one job";
  EXPECT_EQ(bytes_of(film.out), rendered_alone(film));
  EXPECT_EQ(bytes_of(plain.out), rendered_alone(plain));
}

TEST_F(InterpolationJob, ABatchNamesFieldsWhereWeightsAreNotThere) {
  const Request film = drawn("film", 1, {{"out", folder_ / "film.mp4"}, {"interpolator", nullptr}});
  WorkFolder work(folder_ / "work", WorkFolder::draw_number(folder_ / "work"));
  Steps steps;
  const RunResult result = run_jobs({{.line = 3, .request = film}}, work, {}, log_, steps);
  ASSERT_EQ(result.count(JobState::Failed), 1);
  const std::string& error = result.jobs[0].error;
  EXPECT_NE(error.find("interpolator_model none does without"), std::string::npos) << error;
  EXPECT_EQ(error.find("--"), std::string::npos) << error;
}

TEST_F(InterpolationJob, FramesThatAreGeneratedStayAsTheyWere) {
  // At the best quality: what is encoded beside others has other bits.
  const nlohmann::json fine = {{"video_quality", "maximum"}};
  nlohmann::json plain = fine;
  plain["out"] = folder_ / "plain.mp4";
  const Read without = read(run(request(plain))), with = read(run(drawn("film", 1, fine)));
  ASSERT_EQ(without.frames.size(), 5u);
  ASSERT_EQ(with.frames.size(), 9u);
  for (size_t i = 0; i < 5; ++i) EXPECT_GT(decibels(with.frames[2 * i], without.frames[i]), 35) << i;
}

TEST_F(InterpolationJob, WeightsAreRefusedBeforeAnythingIsComputed) {
  const auto refusal = [&](const std::string& model, const std::string& file) {
    Steps steps;
    const std::string error = error_of([&] { run(drawn(model, 1, {{"interpolator", file}}), steps); });
    EXPECT_EQ(steps.reports, 0) << error;
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 0) << error;
    EXPECT_FALSE(fs::exists(folder_ / "a.mp4"));
    return error;
  };
  const fs::path empty = folder_ / "empty";
  fs::create_directories(empty);
  const std::string film = refusal("film", empty);
  EXPECT_NE(film.find("film_net_fp32.pt (138 MB"), std::string::npos) << film;
  EXPECT_NE(film.find("dajes/frame-interpolation-pytorch"), std::string::npos) << film;
  EXPECT_NE(refusal("rife", empty).find("hzwer/Practical-RIFE"), std::string::npos);
  EXPECT_NE(refusal("rife", folder_ / "absent.pth").find("is not there"), std::string::npos);
  const std::string other = refusal("film", *weights_ / "flownet.safetensors");
  EXPECT_NE(other.find("is: RIFE"), std::string::npos) << other;
  EXPECT_NE(other.find("; --interpolator names another file, or --interpolator-model rife takes this one"),
            std::string::npos)
      << other;
  const std::string whole = bytes_of(*weights_ / "film_net.safetensors"), cut = folder_ / "cut.safetensors";
  write_bytes(cut, whole.substr(0, whole.size() / 2));
  EXPECT_NE(refusal("film", cut).find("cut.safetensors"), std::string::npos);
  write_bytes(folder_ / "noise.pt", std::string(4096, '\xa7'));
  EXPECT_NE(refusal("film", folder_ / "noise.pt").find("noise.pt"), std::string::npos);
  std::map<std::string, at::Tensor> tensors = film_weights();
  tensors["fuse.output_conv.bias"][0] = std::nan("");
  write_safetensors(folder_ / "nan.safetensors", tensors);
  EXPECT_NE(refusal("film", folder_ / "nan.safetensors").find("NaN"), std::string::npos);
  tensors = film_weights();
  tensors.erase("fuse.output_conv.bias");
  write_safetensors(folder_ / "less.safetensors", tensors);
  EXPECT_NE(refusal("film", folder_ / "less.safetensors").find("fuse.output_conv"), std::string::npos);
}

TEST_F(InterpolationJob, AnInputThatIsKeptGoesThroughTheChain) {
  const Request asked =
      drawn("film", 1,
            {{"task", "v2v"}, {"video_url", media_file("aac_sound.mp4")}, {"strength", 0}, {"resample_fps", true}});
  const Read got = read(run(asked));
  EXPECT_EQ(got.frames.size(), 9u);
  EXPECT_EQ(got.info.rate, (Rational{32, 1}));
  EXPECT_TRUE(got.info.has_audio);
}

TEST_F(InterpolationJob, TheSoundOfASlowerVideoIsToldOf) {
  const Request asked = drawn("film", 1,
                              {{"task", "v2v"},
                               {"video_url", media_file("aac_sound.mp4")},
                               {"strength", 1},
                               {"resample_fps", true},
                               {"adjust_fps_for_interpolation", false}});
  const Read got = read(run(asked));
  EXPECT_EQ(got.info.rate, (Rational{16, 1}));
  EXPECT_TRUE(got.info.has_audio);
  const nlohmann::json said = nlohmann::json::parse(read_metadata({asked.out, "out"}));
  bool told = false;
  for (const auto& note : said["notes"])
    told = told ||
           (note["subject"] == "keep_audio" && note["text"].get<std::string>().find("slower") != std::string::npos);
  EXPECT_TRUE(told);
}

TEST_F(InterpolationJob, FinishKeepsSoundAndMetadataAndAddsTheChain) {
  const std::string first = run(request()), out = folder_ / "out.mp4";
  Request asked = drawn("rife", 3, {{"task", "v2v"}, {"video_url", first}, {"out", out}});
  finish(asked, out);
  const Read got = read(out);
  EXPECT_EQ(got.frames.size(), 17u);
  EXPECT_EQ(got.info.rate, (Rational{64, 1}));
  const nlohmann::json was = nlohmann::json::parse(read_metadata({first, "in"})),
                       said = nlohmann::json::parse(read_metadata({out, "out"}));
  EXPECT_EQ(said["request"], was["request"]);
  ASSERT_EQ(said["finish"].size(), 1u);
  EXPECT_EQ(said["finish"][0]["chain"][1]["between"], 3);
  EXPECT_EQ(said["finish"][0]["files"][0]["name"], "flownet.safetensors");
  EXPECT_EQ(said["finish"][0]["input"]["name"], "a.mp4");
  // Once more, of a foreign video with sound.
  const std::string again = folder_ / "again.mp4";
  asked.video_url = media_file("aac_sound.mp4");
  finish(asked, again);
  EXPECT_TRUE(read(again).info.has_audio);
  asked.keep_audio = false;
  const std::string silent = folder_ / "silent.mp4";
  finish(asked, silent);
  EXPECT_FALSE(read(silent).info.has_audio);
}

TEST_F(InterpolationJob, FinishMakesOddSidesEvenAndSaysSo) {
  const std::string in = folder_ / "odd.mkv", out = folder_ / "out.mp4";
  ffmpeg("-f lavfi -i testsrc=size=17x17:rate=10:duration=0.5 -c:v ffv1 " + in);
  finish(drawn("film", 2, {{"task", "v2v"}, {"video_url", in}, {"out", out}}), out);
  const Read got = read(out);
  EXPECT_EQ(got.info.width, 16);
  EXPECT_EQ(got.info.height, 16);
  EXPECT_EQ(got.frames.size(), 13u);
  EXPECT_EQ(got.info.rate, (Rational{30, 1}));
  bool told = false;
  for (const auto& [event, fields] : told_)
    told =
        told || (event == "note" && fields["text"].get<std::string>().find("17x17 becomes 16x16") != std::string::npos);
  EXPECT_TRUE(told);
}

TEST_F(InterpolationJob, FinishRoundsARateWhoseTermsAreTooLarge) {
  const std::string in = folder_ / "in.mov", out = folder_ / "out.mp4";
  ffmpeg("-f lavfi -i testsrc=size=32x32:rate=1000000/2997 -frames:v 3 -c:v png -video_track_timescale 1000000 " + in);
  ASSERT_EQ(VideoReader({in, "IN"}).info().rate, (Rational{1'000'000, 2997}));
  finish(drawn("film", 2, {{"task", "v2v"}, {"video_url", in}, {"out", out}}), out);
  EXPECT_EQ(read(out).info.rate, (Rational{100'101, 100})) << "333.67 times 3";
}

TEST_F(InterpolationJob, FinishTakesThePaceOfTheFramesWhereTheFileStatesAnother) {
  const std::string in = folder_ / "in.mkv", out = folder_ / "out.mp4", sheet = folder_ / "sheet.png";
  ffmpeg("-f lavfi -i testsrc=size=32x32:rate=30 -frames:v 15 -vf setpts=2*PTS -fps_mode passthrough -c:v ffv1 " + in);
  ASSERT_EQ(VideoReader({in, "IN"}).info().rate, (Rational{30, 1}));
  const Request asked = drawn("film", 1, {{"task", "v2v"}, {"video_url", in}, {"out", out}});
  Silent silent;
  finish_video(asked, out, chain(asked), {.contact_sheet = sheet}, log_, silent);
  const Read got = read(out);
  EXPECT_EQ(got.frames.size(), 29u) << "none is repeated";
  EXPECT_EQ(got.info.rate, (Rational{30, 1}));
  ContactSheet want(29);
  for (const at::Tensor& frame : got.frames) want.add(frame.unsqueeze(0));
  EXPECT_EQ(read_image({sheet, "sheet"}).sizes(), want.image().sizes())
      << "it has as many pictures as there is room for";
  const nlohmann::json said = nlohmann::json::parse(read_metadata({out, "out"}))["finish"][0];
  EXPECT_EQ(said["chain"][0]["rate"], "15");
  ASSERT_EQ(said["notes"].size(), 1u) << said["notes"];
  const std::string note = said["notes"][0]["text"];
  EXPECT_NE(note.find("states 30.00 frames a second, and its frames follow each other at 15.00"), std::string::npos)
      << note;
}

TEST_F(InterpolationJob, FinishTellsOfTimesThatVaryAndOfOneFrame) {
  const std::string in = folder_ / "in.mkv", one = folder_ / "one.mkv", out = folder_ / "out.mp4",
                    small = folder_ / "small.mkv";
  const auto notes = [&] {
    std::string text;
    const nlohmann::json said = nlohmann::json::parse(read_metadata({out, "out"}));
    for (const auto& note : said["finish"][0]["notes"]) text += note["text"].get<std::string>() + "\n";
    return text;
  };
  // At 0, 0.2, 0.2 + 0.1, 0.5, ...: at the 10 a second that are stated every third slot repeats a frame.
  ffmpeg(
      "-f lavfi -i testsrc=size=32x32:rate=10 -frames:v 9 -vf \"setpts=(N+floor((N+1)/2))*0.1/TB\" "
      "-fps_mode passthrough -c:v ffv1 " +
      in);
  finish(drawn("film", 1, {{"task", "v2v"}, {"video_url", in}, {"out", out}}), out);
  EXPECT_EQ(read(out).frames.size(), 13u + 12);
  EXPECT_NE(notes().find("at times that vary: at 10 a second 4 are repeated and 0 left out"), std::string::npos)
      << notes();
  ffmpeg("-f lavfi -i testsrc=size=32x32:rate=10 -frames:v 1 -c:v ffv1 " + one);
  finish(drawn("film", 1, {{"task", "v2v"}, {"video_url", one}, {"out", out}}), out);
  EXPECT_EQ(read(out).frames.size(), 1u);
  EXPECT_NE(notes().find("nothing is drawn: the video has one frame"), std::string::npos) << notes();
  ffmpeg("-f lavfi -i testsrc=size=32x15:rate=10 -frames:v 2 -c:v ffv1 " + small);
  const std::string error = error_of([&] {
    finish(drawn("film", 1, {{"task", "v2v"}, {"video_url", small}, {"out", out}}), out);
  });
  EXPECT_EQ(error, "[IN] must have sides from 16 to 16384 pixels, has 32x15");
}

/// Ends the run as soon as the file is in its place and it is asked again.
struct StopsAtTheEnd : Progress {
  explicit StopsAtTheEnd(std::string path) : out(std::move(path)) {}
  void at(const Report&) override { check(); }
  void check() override {
    if (fs::exists(out)) throw Cancelled();
  }
  std::string out;
};

TEST_F(InterpolationJob, FinishIsDoneOnceTheFileIsInItsPlace) {
  const std::string in = folder_ / "in.mkv", out = folder_ / "out.mp4";
  ffmpeg("-f lavfi -i testsrc=size=16x16:rate=10:duration=0.3 -c:v ffv1 " + in);
  const Request asked = drawn("film", 1, {{"task", "v2v"}, {"video_url", in}, {"out", out}});
  StopsAtTheEnd progress(out);
  EXPECT_NO_THROW(finish_video(asked, out, chain(asked), {}, log_, progress));
  EXPECT_EQ(read(out).frames.size(), 5u);
}

TEST_F(InterpolationJob, FinishSaysInItsFileWhatItLeavesOut) {
  const std::string in = folder_ / "in.mkv", out = folder_ / "out.mp4";
  ffmpeg(
      "-f lavfi -i testsrc=size=17x16:rate=10:duration=1 -f lavfi -i sine=duration=3 -c:v ffv1 -c:a aac "
      "-fflags +bitexact " +
      in);
  finish(drawn("rife", 1, {{"task", "v2v"}, {"video_url", in}, {"out", out}}), out);
  const nlohmann::json said = nlohmann::json::parse(read_metadata({out, "out"}))["finish"][0];
  EXPECT_EQ(said["chain"][1]["version"], "4.6");
  std::string notes;
  for (const auto& note : said["notes"])
    notes += note["subject"].get<std::string>() + ": " + note["text"].get<std::string>() + "\n";
  EXPECT_NE(notes.find("IN: 17x16 becomes 16x16"), std::string::npos) << notes;
  EXPECT_NE(notes.find("keep_audio: 2.0"), std::string::npos) << notes;
  EXPECT_NE(notes.find("of the sound are left out: the picture ends after 0.95 s"), std::string::npos) << notes;
  EXPECT_NE(said["notes"].dump().find("ffmpeg -i IN -vf tpad="), std::string::npos) << said["notes"];
  const Request minimal = drawn("rife", 1, {{"task", "v2v"}, {"video_url", in}, {"out", out}, {"metadata", "minimal"}});
  finish(minimal, out);
  EXPECT_FALSE(nlohmann::json::parse(read_metadata({out, "out"}))["finish"][0].contains("notes"));
}

TEST_F(InterpolationJob, FinishSaysNoMoreOfItsInputThanItsLevelOfMetadata) {
  const std::string first = run(request()), full = folder_ / "full.mp4", less = folder_ / "less.mp4";
  const auto said = [](const std::string& out) { return nlohmann::json::parse(read_metadata({out, "out"})); };
  finish(drawn("rife", 1, {{"task", "v2v"}, {"video_url", first}, {"out", full}}), full);
  ASSERT_EQ(said(full)["finish"].size(), 1u);
  EXPECT_EQ(said(full)["finish"][0]["chain"][0]["step"], "input");
  EXPECT_EQ(said(full).at("request").at("prompt"), "a red circle");
  finish(drawn("rife", 1, {{"task", "v2v"}, {"video_url", full}, {"out", less}, {"metadata", "minimal"}}), less);
  EXPECT_EQ(read_metadata({less, "out"}).find("a red circle"), std::string::npos) << "no words of the input";
  const nlohmann::json minimal = said(less);
  EXPECT_EQ(minimal.at("request").at("seed"), 3);
  ASSERT_EQ(minimal["finish"].size(), 2u) << "what was finished before, too";
  for (const nlohmann::json& one : minimal["finish"]) {
    EXPECT_FALSE(one.at("input").contains("name")) << one;
    EXPECT_FALSE(one.at("files").at(0).contains("name")) << one;
    EXPECT_FALSE(one.contains("notes")) << one;
  }
  const std::string least = folder_ / "least.mp4";
  finish(drawn("rife", 1, {{"task", "v2v"}, {"video_url", less}, {"out", least}, {"metadata", "minimal"}}), least);
  EXPECT_EQ(said(least).at("request"), minimal.at("request")) << "it was as short as it may be";
  EXPECT_EQ(said(least)["finish"].size(), 3u);
}

TEST_F(InterpolationJob, FinishKeepsTheVerdictOfARecordThatItCannotRead) {
  const std::string in = folder_ / "in.mp4", out = folder_ / "out.mp4";
  const nlohmann::json later = {
      {"wan_infer", "9.0.0"},
      {"request", {{"prompt", "a secret"}, {"task", "t9v"}}},
      {"safety",
       {{"checker", "c"}, {"threshold", 0.5}, {"action", "flag"}, {"output", {{"flagged", true}, {"score", 0.9}}}}}};
  VideoWriter writer(in, {.height = 32, .width = 32, .rate = {10, 1}, .metadata = later.dump()});
  writer.write(moving_picture(3, 32, 32));
  writer.finish();
  finish(drawn("rife", 1, {{"task", "v2v"}, {"video_url", in}, {"out", out}, {"metadata", "minimal"}}), out);
  const nlohmann::json said = nlohmann::json::parse(read_metadata({out, "out"}));
  EXPECT_EQ(said["safety"]["output"]["flagged"], true) << said;
  EXPECT_FALSE(said.contains("request")) << said;
  EXPECT_EQ(said["finish"].size(), 1u);
}

TEST_F(InterpolationJob, TheLogCountsPairsAndTheSheetShowsDrawnFrames) {
  const std::string in = folder_ / "in.mp4", out = folder_ / "out.mp4", sheet = folder_ / "sheet.png";
  VideoWriter writer(in, {.height = 32, .width = 32, .rate = {10, 1}});
  writer.write(moving_picture(3, 32, 32));
  writer.finish();
  const Request asked = drawn("film", 1, {{"task", "v2v"}, {"video_url", in}, {"out", out}});
  Silent silent;
  finish_video(asked, out, chain(asked), {.contact_sheet = sheet}, log_, silent);
  ContactSheet want(5);
  for (const at::Tensor& frame : read(out).frames) want.add(frame.unsqueeze(0));
  EXPECT_EQ(read_image({sheet, "sheet"}).sizes(), want.image().sizes());
  nlohmann::ordered_json pairs;
  for (const auto& [event, fields] : told_)
    if (event == "interpolation") pairs = fields;
  EXPECT_EQ(pairs.value("pairs", 0), 2) << pairs;
  EXPECT_EQ(pairs.value("model", ""), "film") << pairs;
}

TEST_F(InterpolationJob, AnotherChainHasNotesOfItsOwn) {
  const Request rife = drawn("rife", 3, {{"interpolation_times", "midpoints"}}),
                slow = drawn("film", 1, {{"adjust_fps_for_interpolation", false}});
  Record record;
  record.request = rife;
  record.notes = {{"prompt", "of the steps", ""}};
  const auto subjects_with = [&](const Request& request) {
    set_chain(record, request, {}, /*sound=*/true);
    std::string subjects;
    for (const Note& note : record.notes) subjects += note.subject + " ";
    return subjects;
  };
  EXPECT_EQ(subjects_with(rife), "prompt interpolation_times ");
  EXPECT_EQ(subjects_with(slow), "prompt keep_audio ");
  EXPECT_EQ(subjects_with(request({{"interpolator", nullptr}})), "prompt ");
}

TEST_F(InterpolationJob, CheckLooksAtTheWeightsAndTellsOfTheChain) {
  Silent silent;
  const auto checked = [&](const Request& asked) {
    return check_jobs({{.request = asked}}, {.work = folder_ / "work", .scratch = folder_ / "scratch"}, silent).at(0);
  };
  EXPECT_TRUE(checked(drawn("film", 1, {{"interpolator", *weights_ / "flownet.safetensors"}})).failure);
  const CheckResult good = checked(drawn("rife", 1, {{"interpolation_times", "midpoints"}}));
  EXPECT_FALSE(good.failure);
  EXPECT_TRUE(std::ranges::any_of(good.notes, [](const Note& note) { return note.subject == "interpolation_times"; }));
  EXPECT_FALSE(fs::exists(folder_ / "a.mp4"));
}

TEST_F(InterpolationJob, AFolderThatCannotBeEnteredIsNotCalledEmpty) {
  fs::permissions(folder_.path(), fs::perms::owner_all | fs::perms::others_exec);
  const fs::path closed = folder_ / "closed";
  fs::create_directory(closed);
  fs::permissions(closed, fs::perms::none);
  const auto told = as_other_user([&] {
    return error_of([&] { find_interpolator({.model = "film", .named = closed, .rule = "--interpolator"}); });
  });
  fs::permissions(closed, fs::perms::owner_all);
  if (!told) GTEST_SKIP() << "root's rights cannot be given up here";
  EXPECT_NE(told->find("Permission denied"), std::string::npos) << *told;
}

TEST_F(InterpolationJob, WhatChangesNothingIsTold) {
  const auto notes_of = [&](const Request& asked) {
    Notes notes;
    note_chain(asked, /*sound=*/false, notes);
    std::string subjects;
    for (const Note& note : notes.list()) subjects += note.subject + " ";
    return subjects;
  };
  EXPECT_EQ(notes_of(request({{"interpolator", nullptr}})), "");
  EXPECT_EQ(notes_of(request()), "interpolator ");
  EXPECT_EQ(notes_of(drawn("film", 1, {{"interpolation_times", "direct"}})), "");
  EXPECT_EQ(
      notes_of(request(
          {{"interpolator", nullptr}, {"interpolation_times", "direct"}, {"adjust_fps_for_interpolation", false}})),
      "adjust_fps_for_interpolation interpolation_times ");
  EXPECT_EQ(notes_of(drawn("film", 1, {{"num_frames", 1}})), "num_interpolated_frames ");
  // Midpoints are FILM's; that RIFE draws directly needs no word.
  EXPECT_EQ(notes_of(drawn("rife", 3, {{"interpolation_times", "midpoints"}})), "interpolation_times ");
  for (const char* times : {"direct", ""}) {
    const nlohmann::json said = *times ? nlohmann::json(times) : nlohmann::json();
    EXPECT_EQ(notes_of(drawn("rife", 3, {{"interpolation_times", said}})), "");
  }
  EXPECT_EQ(notes_of(drawn("rife", 0, {{"interpolator", nullptr}})), "");
  // Faster than players and screens commonly are.
  const auto fast = [&](int64_t between, bool adjusts) {
    return notes_of(drawn("film", between, {{"frames_per_second", 60}, {"adjust_fps_for_interpolation", adjusts}}));
  };
  EXPECT_EQ(fast(1, true), "");
  EXPECT_EQ(fast(2, true), "num_interpolated_frames ");
  EXPECT_EQ(fast(4, false), "");
  Notes notes;
  note_chain(drawn("film", 1, {{"adjust_fps_for_interpolation", false}}), /*sound=*/false, notes, Rational{240, 1});
  EXPECT_TRUE(notes.list().empty()) << "it was as fast before";
  note_chain(drawn("film", 1), /*sound=*/false, notes, Rational{90, 1});
  ASSERT_EQ(notes.list().size(), 1u);
  EXPECT_NE(notes.list()[0].text.find("has 180 frames a second"), std::string::npos) << notes.list()[0].text;
}

/// Of the tiny speech checkpoint: two clips.
class InterpolatedSpeech : public InterpolationJob {
 protected:
  Request speech(const std::string& model, int64_t between) {
    write_png(folder_ / "face.png", moving_picture(1, 64, 64)[0]);
    write_sound(folder_ / "voice.wav", 16000, 5.1);
    return drawn(model, between,
                 {{"task", "s2v"},
                  {"model", WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-S2V-14B"},
                  {"prompt", "a face"},
                  {"num_frames", nullptr},
                  {"num_inference_steps", 1},
                  {"guidance_scale", 1},
                  {"image_url", "face.png"},
                  {"audio_url", "voice.wav"}});
  }
};

TEST_F(InterpolatedSpeech, DrawsOverTheBordersOfClipsAndResumesWithTheSameBytes) {
  const Request asked = speech("film", 2);
  const std::string want = bytes_of(run(asked));
  const Read got = read(asked.out);
  EXPECT_EQ(got.frames.size(), 82u + 81 * 2);
  EXPECT_EQ(got.info.rate, (Rational{48, 1}));
  EXPECT_TRUE(got.info.has_audio);
  for (int64_t i = 0; i < int64_t(got.times.size()); ++i) EXPECT_EQ(got.times[size_t(i)], (Rational{i, 48}));
  fs::remove(asked.out);
  for (Steps broken : {Steps(1), Steps(INT64_MAX, 12), Steps(Stage::Write)}) {
    EXPECT_THROW(run(asked, broken), Cancelled);
    EXPECT_EQ(bytes_of(run(asked)), want);
    fs::remove(asked.out);
  }
}

TEST_F(InterpolatedSpeech, OfAnotherChainGoesOnFromTheSameSteps) {
  const auto other = [&](const char* model) { return speech(model, 1); };
  const Request film = speech("film", 2), rife = other("rife"), none = other("none");
  const std::string of_none = rendered_alone(none);
  // Both clips are finished, and one of two with the next one sampled.
  for (const Steps& at : {Steps(Stage::Write), Steps(INT64_MAX, 22)}) {
    Steps broken = at, with_rife, with_none, again;
    EXPECT_THROW(run(film, broken), Cancelled);
    EXPECT_EQ(broken.made, 2);
    Steps broken_again = at;
    EXPECT_THROW(run(rife, broken_again), Cancelled);
    EXPECT_EQ(broken_again.made, 0) << "no step is made again";
    EXPECT_TRUE(bytes_of(run(none, with_none)) == of_none);
    EXPECT_EQ(with_none.made, 0) << "no step is made again";
    EXPECT_FALSE(fs::exists(WorkFolder::beside(none.out)));
    fs::remove(none.out);
  }
  // From none to one, without which steps are not kept.
  Steps broken(Stage::Write), refused;
  EXPECT_THROW(run(none, broken), Cancelled);
  const std::string error = error_of([&] { run(film, refused); });
  EXPECT_NE(error.find("without frames between others"), std::string::npos) << error;
  EXPECT_NE(error.find("wan-infer finish"), std::string::npos) << error;
  EXPECT_TRUE(bytes_of(run(none)) == of_none) << "it goes on";
}

TEST_F(InterpolatedSpeech, OfAnotherCountGoesOnWithPiecesOfItsOwn) {
  Steps broken(INT64_MAX, 22), rest;  // one clip is finished, and the next one sampled
  EXPECT_THROW(run(speech("film", 2), broken), Cancelled);
  const Read got = read(run(speech("film", 1), rest));
  EXPECT_EQ(rest.made, 0) << "no step is made again";
  EXPECT_EQ(got.frames.size(), 82u + 81);
  EXPECT_EQ(got.info.rate, (Rational{32, 1}));
}

TEST_F(InterpolatedSpeech, JobsOfABatchThatDifferInTheirChainsShareTheirSteps) {
  Request film = speech("film", 1), none = speech("none", 1);
  film.out = folder_ / "film.mp4", none.out = folder_ / "none.mp4";
  WorkFolder work(folder_ / "work", WorkFolder::draw_number(folder_ / "work"));
  Steps steps;
  const RunResult result =
      run_jobs({{.line = 1, .request = film}, {.line = 2, .request = none}}, work, {}, log_, steps);
  EXPECT_EQ(result.count(JobState::Done), 2);
  EXPECT_EQ(steps.made, 2) << "one for each clip";
  EXPECT_EQ(bytes_of(film.out), rendered_alone(film));
  EXPECT_EQ(bytes_of(none.out), rendered_alone(none));
  for (const auto& entry : fs::directory_iterator(work.path()))
    EXPECT_EQ(entry.path().filename(), "journal.jsonl") << "nothing is left";
}

TEST_F(InterpolatedSpeech, IsRefusedWhereThePictureWouldBeSlowerThanTheVoice) {
  const std::string error = error_of([&] {
    parse({{"task", "s2v"},
           {"prompt", ""},
           {"model", "m"},
           {"image_url", "i"},
           {"audio_url", "a"},
           {"interpolator_model", "film"},
           {"adjust_fps_for_interpolation", false}},
          {.check_files = false});
  });
  EXPECT_NE(error.find("slower than the voice"), std::string::npos) << error;
}

}  // namespace
}  // namespace wan
