// What is found in videos of whole jobs: in their metadata, after a break, in a batch; and the second render.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/job/first_video.h"
#include "engine/media/metadata.h"
#include "engine/media/png.h"
#include "engine/media/video_reader.h"
#include "engine/request/parse.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/support/render.h"
#include "tests/support/safety_checkers.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";
const fs::path kSpeech = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints/Wan2.2-S2V-14B";

/// The VAE of the tiny checkpoint with a last convolution that gives -1 everywhere: black, whatever the latents.
void write_black_vae(const std::string& path) {
  const Checkpoint vae = Checkpoint::open(kNano / "Wan2.1_VAE.pth");
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, stored] : vae.tensors()) tensors[name] = vae.map(name).clone();
  ASSERT_TRUE(tensors.contains("decoder.head.2.weight"));
  tensors["decoder.head.2.weight"].zero_();
  tensors["decoder.head.2.bias"].fill_(-1);
  write_safetensors(path, tensors);
}

json said_by(const std::string& out) {
  return json::parse(read_metadata({out, "out"}));
}

std::string kinds_in(const json& quality) {
  return kinds_text(findings(read_quality(quality)));
}

std::vector<at::Tensor> frames_of(const std::string& path) {
  VideoReader reader({path, "out"});
  std::vector<at::Tensor> frames;
  while (std::optional<VideoFrame> frame = reader.next()) frames.push_back(frame->rgb.clone());
  return frames;
}

class QualityJob : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    weights_ = new TemporaryFolder;
    const c10::InferenceMode inference;
    write_black_vae(*weights_ / "black.safetensors");
  }
  static void TearDownTestSuite() { delete weights_; }

  static std::string black_vae() { return *weights_ / "black.safetensors"; }

  json fields(const json& more = json::object()) const {
    json all = {{"task", "t2v"},
                {"model", kNano.string()},
                {"prompt", "a red circle moves to the right on a black background"},
                {"unlocked", true},
                {"width", 64},
                {"height", 64},
                {"num_frames", 5},
                {"num_inference_steps", 3},
                {"seed", 3},
                {"device", "cpu"},
                {"out", folder_ / "a.mp4"}};
    all.update(more);
    return all;
  }
  Request request(const json& more = json::object()) const { return parse(fields(more), {.folder = folder_.path()}); }
  /// One whose video is black, computed by 8-bit products, and wanted once more.
  Request retried(json more = json::object()) const {
    more.update(
        {{"vae", black_vae()}, {"precision", "balanced"}, {"quality_check", more.value("quality_check", "retry")}});
    return request(more);
  }
  std::string run(const Request& request, Progress& progress, const SingleOptions& options = {}) {
    told_.clear();
    return render(request, options, log_, progress);
  }
  std::string run(const Request& request) {
    Silent silent;
    return run(request, silent);
  }
  bool is_told(const std::string& kind) const { return std::ranges::count(told_, kind) > 0; }
  std::string first() const { return folder_ / "a.first.mp4"; }

  static TemporaryFolder* weights_;
  TemporaryFolder folder_;
  std::vector<std::string> told_;  // kinds of "quality" events
  Log log_{[this](std::string_view event, const Log::Fields& fields) {
    if (event == "quality") told_.push_back(fields.at("kind"));
  }};

 private:
  c10::InferenceMode inference_;
};
TemporaryFolder* QualityJob::weights_ = nullptr;

TEST_F(QualityJob, AVideoHasItsNumbersAndCountsAsFinishedWhateverTheCheck) {
  const Request warn = request(), off = request({{"quality_check", "off"}, {"out", folder_ / "b.mp4"}});
  run(warn);
  run(off);
  EXPECT_EQ(said_by(warn.out).at("quality").at("frames"), 5);
  EXPECT_FALSE(said_by(warn.out)["request"].contains("quality_check"));
  json with = said_by(warn.out), without = said_by(off.out);
  EXPECT_FALSE(without.contains("quality"));
  with.erase("quality");
  EXPECT_EQ(with, without) << "and nothing else is another";
  const std::vector<at::Tensor> a = frames_of(warn.out), b = frames_of(off.out);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i]));
  for (const char* check : {"warn", "retry", "off"})
    for (const char* out : {"a.mp4", "b.mp4"}) {
      Steps none;
      run(request({{"quality_check", check}, {"out", folder_ / out}}), none);
      EXPECT_EQ(none.reports, 0) << check << " of " << out;
    }
}

TEST_F(QualityJob, WithoutMetadataItIsStillTold) {
  run(retried({{"quality_check", "warn"}, {"metadata", "none"}}));
  EXPECT_TRUE(is_told("black"));
  EXPECT_THROW(read_metadata({folder_ / "a.mp4", "out"}), InvalidRequest);
}

TEST_F(QualityJob, WhatIsFoundIsToldAndRenderedOnceMore) {
  const Request warn = retried({{"quality_check", "warn"}, {"out", folder_ / "warn.mp4"}});
  run(warn);
  EXPECT_EQ(told_, std::vector<std::string>{"black"});
  const Request asked = retried();
  Steps steps;
  EXPECT_EQ(run(asked, steps), asked.out);
  EXPECT_EQ(steps.made, 6) << "three steps, twice";
  EXPECT_EQ(told_, (std::vector<std::string>{"black", "retry", "black"}));
  EXPECT_TRUE(bytes_of(first()) == bytes_of(warn.out)) << "the first video is the one without a retry";
  const json said = said_by(asked.out);
  EXPECT_EQ(said["request"]["precision"], "exact");
  EXPECT_EQ(said["asked"], (json{{"precision", "balanced"}}));
  EXPECT_EQ(kinds_in(said["quality"]), "black");
  EXPECT_EQ(kinds_in(said["quality_first"]), "black");
  EXPECT_FALSE(said_by(first()).contains("quality_first"));
  EXPECT_FALSE(fs::exists(WorkFolder::beside(asked.out)));
  Steps none;
  run(asked, none);
  EXPECT_EQ(none.reports, 0) << "it is known as finished";
  run(retried({{"quality_check", "warn"}}), none);
  EXPECT_EQ(none.reports, 0);
  EXPECT_THROW(run(request({{"vae", black_vae()}}), none), InvalidRequest) << "an exact one was not asked for";
  // A replay makes what the file holds.
  const Record made = parse_record(read_metadata({asked.out, "out"}), "out");
  ASSERT_TRUE(made.asked);
  EXPECT_EQ(made.asked->precision, "balanced");
}

TEST_F(QualityJob, AVideoInWhichNothingIsFoundGoesToItsName) {
  const Request asked =
      request({{"precision", "balanced"}, {"quality_check", "retry"}, {"num_frames", 17}, {"num_inference_steps", 8}});
  Steps steps;
  run(asked, steps);
  EXPECT_EQ(steps.made, 8);
  EXPECT_EQ(told_, std::vector<std::string>());
  EXPECT_TRUE(fs::exists(asked.out));
  EXPECT_FALSE(fs::exists(first()));
  EXPECT_EQ(said_by(asked.out)["request"]["precision"], "balanced");
}

TEST_F(QualityJob, AnExactRenderIsNotRepeated) {
  const Request asked = request({{"vae", black_vae()}, {"quality_check", "retry"}});
  Steps steps;
  run(asked, steps);
  EXPECT_EQ(steps.made, 3);
  EXPECT_EQ(told_, (std::vector<std::string>{"black", "retry"}));
  EXPECT_FALSE(fs::exists(first()));
}

TEST_F(QualityJob, ASecondRenderGoesOnAfterAnyBreakWithTheSameBytes) {
  const Request asked = retried();
  Steps whole;
  run(asked, whole);
  const std::string want = bytes_of(asked.out), want_first = bytes_of(first());
  for (const bool decoding : {false, true}) {
    fs::remove(asked.out);
    fs::remove(first());
    int64_t made = 0, runs = 0;
    for (bool stopped = true; stopped; ++runs) {
      ASSERT_LT(runs, 20);
      Steps few = decoding ? Steps(INT64_MAX, runs) : Steps(1);
      try {
        run(asked, few);
        stopped = false;
      } catch (const Cancelled& cancelled) {
        EXPECT_NE(std::string(cancelled.what()).find("keeps what was done"), std::string::npos) << cancelled.what();
        EXPECT_FALSE(fs::exists(asked.out)) << "the first is beside it";
      }
      made += few.made - (stopped && !decoding);
    }
    EXPECT_EQ(made, whole.made) << "no step twice";
    EXPECT_GT(runs, 2);
    EXPECT_TRUE(bytes_of(asked.out) == want);
    EXPECT_TRUE(bytes_of(first()) == want_first);
    EXPECT_FALSE(fs::exists(folder_ / "a.first-2.mp4"));
  }
}

TEST_F(QualityJob, ARetryThatIsNotWantedAnyMoreLeavesTheFirstVideo) {
  Steps few(4);  // in the second render
  EXPECT_THROW(run(retried(), few), Cancelled);
  ASSERT_TRUE(fs::exists(first()));
  const std::string want = bytes_of(first());
  Steps rest;
  run(retried({{"quality_check", "warn"}}), rest);
  EXPECT_EQ(rest.made, 0);
  EXPECT_TRUE(bytes_of(folder_ / "a.mp4") == want);
  EXPECT_FALSE(fs::exists(first()));
}

TEST_F(QualityJob, AFirstVideoThatIsRefusedIsNotRenderedOnceMoreAndIsCalledAfterTheOutput) {
  const std::string checker = write_safety_checker(folder_ / "everything", Flags::Everything);
  Steps steps;
  EXPECT_THROW(run(retried({{"safety_checker", checker}}), steps), SafetyRefusal);
  EXPECT_EQ(steps.made, 3);
  EXPECT_TRUE(fs::exists(folder_ / "a.refused.mp4"));
  EXPECT_FALSE(fs::exists(first()));
}

TEST_F(QualityJob, AFileOfTheNameOfTheFirstVideoStays) {
  std::ofstream(first()) << "mine";
  run(retried());
  EXPECT_EQ(bytes_of(first()), "mine");
  EXPECT_TRUE(fs::exists(folder_ / "a.first-2.mp4"));
}

TEST_F(QualityJob, ABatchReportsBothRendersOfAJob) {
  const std::string list = folder_ / "list.jsonl";
  const auto add = [&](json more) {
    json line = fields(more);
    line["seed"] = more.value("seed", 3);
    std::ofstream(list, std::ios::app) << line.dump() << "\n";
  };
  add({{"out", "plain.mp4"}});
  add({{"out", "again.mp4"}, {"vae", black_vae()}, {"precision", "balanced"}, {"quality_check", "retry"}});
  add({{"out", "told.mp4"}, {"vae", black_vae()}});
  const fs::path work = folder_ / "work";
  const auto run_list = [&](const RunOptions& options, Progress& progress) {
    const uint64_t draw = WorkFolder::draw_number(work);
    const std::vector<JobRequest> jobs = jobs_of(list, draw);
    WorkFolder folder(work, draw);
    return run_jobs(jobs, folder, options, log_, progress);
  };
  std::vector<std::string> ended;
  RunOptions options{.save_every = {}};
  options.on_end = [&](const JobResult& job) { ended.push_back(job.name); };
  Steps stopped(9 + 1), rest, none;
  EXPECT_TRUE(run_list(options, stopped).cancelled) << "in the second render";
  EXPECT_EQ(ended.size(), 2u) << "not the one that is rendered once more";
  for (Steps* progress : {&rest, &none}) {
    const RunResult result = run_list(options, *progress);
    ASSERT_EQ(result.jobs.size(), 3u);
    EXPECT_EQ(result.count(JobState::Left), 0);
    EXPECT_EQ(result.count(JobState::Failed), 0);
    const JobResult &plain = result.jobs[0], &again = result.jobs[1], &told = result.jobs[2];
    EXPECT_EQ(kinds_text(findings(plain.quality.value())), "");
    EXPECT_FALSE(plain.quality_first);
    EXPECT_EQ(kinds_text(findings(again.quality.value())), "black");
    EXPECT_EQ(kinds_text(findings(again.quality_first.value())), "black");
    EXPECT_EQ(fs::path(again.first).filename(), "again.first.mp4");
    EXPECT_TRUE(fs::exists(again.first));
    EXPECT_EQ(kinds_text(findings(told.quality.value())), "black");
    EXPECT_TRUE(told.first.empty());
  }
  EXPECT_EQ(rest.made, 2) << "of three steps of the second render one was made";
  EXPECT_EQ(none.reports, 0);
  EXPECT_EQ(std::ranges::count(ended, "again.mp4"), 2) << "once when it was done, once when it was kept";
}

TEST_F(QualityJob, AServersJobHasOneFile) {
  const fs::path work = folder_ / "work";
  WorkFolder folder(work, WorkFolder::draw_number(work));
  RunOptions options;
  options.keep_first = false;
  Silent silent;
  const RunResult result = run_jobs({{.line = 1, .request = retried()}}, folder, options, log_, silent);
  EXPECT_EQ(result.jobs.at(0).state, JobState::Done) << result.jobs[0].error;
  EXPECT_TRUE(result.jobs[0].quality_first);
  EXPECT_TRUE(fs::exists(folder_ / "a.mp4"));
  EXPECT_FALSE(fs::exists(first()));
}

TEST_F(QualityJob, AFirstVideoGoesOverNobodysFile) {
  const fs::path work = folder_ / "work";
  const auto run_one = [&](const Request& asked, Progress& progress) {
    WorkFolder folder(work, WorkFolder::draw_number(work));
    return run_jobs({{.line = 1, .request = asked}}, folder, {.save_every = {}}, log_, progress);
  };
  Steps few(4);  // in the second render
  EXPECT_TRUE(run_one(retried(), few).cancelled);
  ASSERT_TRUE(fs::exists(first()));
  std::ofstream(folder_ / "a.mp4") << "mine";
  Silent silent;
  const RunResult result = run_one(retried({{"quality_check", "warn"}}), silent);
  EXPECT_EQ(result.jobs.at(0).state, JobState::Failed);
  EXPECT_NE(result.jobs[0].error.find("must not be there already"), std::string::npos) << result.jobs[0].error;
  EXPECT_EQ(bytes_of(folder_ / "a.mp4"), "mine");
  EXPECT_TRUE(fs::exists(first()));
}

TEST_F(QualityJob, ASecondRenderHasTheExpandedPromptOfTheFirst) {
  const std::string text = "a red circle glides over a black background in a still wide shot";
  Request asked = retried();
  asked.enable_prompt_expansion = true;  // as a replay has it: nobody can be asked
  Steps steps;
  run(asked, steps, {.expansion = Expansion{.text = text, .notes = {}}});
  EXPECT_EQ(steps.made, 6);
  EXPECT_EQ(said_by(first()).at("expanded_prompt"), text);
  EXPECT_EQ(said_by(asked.out).at("expanded_prompt"), text);
}

TEST_F(QualityJob, SpeechIsMeasuredOverItsClipsAndAfterABreak) {
  write_png(folder_ / "face.png", moving_picture(1, 64, 64)[0]);
  write_sound(folder_ / "voice.wav", 16000, 5.1);
  json fields = {{"task", "s2v"},
                 {"model", kSpeech.string()},
                 {"prompt", "a face"},
                 {"image_url", "face.png"},
                 {"audio_url", "voice.wav"},
                 {"width", 64},
                 {"height", 64},
                 {"unlocked", true},
                 {"num_inference_steps", 2},
                 {"guidance_scale", 1},
                 {"device", "cpu"},
                 {"seed", 7},
                 {"out", folder_ / "a.mp4"}};
  const Request asked = parse(fields, {.folder = folder_.path()});
  run(asked);
  const std::string want = bytes_of(asked.out);
  const json quality = said_by(asked.out).at("quality");
  EXPECT_EQ(quality.at("frames"), 82);
  EXPECT_EQ(quality.at("clips"), 2);
  EXPECT_EQ(quality.at("seam_frame"), 44);
  EXPECT_EQ(quality.at("sound_offset_ms"), 0);
  fs::remove(asked.out);
  Steps few(3);  // in the second clip
  EXPECT_THROW(run(asked, few), Cancelled);
  Steps joining(Stage::Write);
  EXPECT_THROW(run(asked, joining), Cancelled);
  Steps rest;
  run(asked, rest);
  EXPECT_TRUE(bytes_of(asked.out) == want);
  fields["quality_check"] = "off";
  fields["out"] = folder_ / "off.mp4";
  const Request off = parse(fields, {.folder = folder_.path()});
  run(off);
  EXPECT_FALSE(said_by(off.out).contains("quality"));
}

TEST_F(QualityJob, OfAVideoThatStaysAsItIsItsFramesAreMeasured) {
  const Request asked = request({{"task", "v2v"},
                                 {"video_url", media_file("upright.mp4")},
                                 {"num_frames", 5},
                                 {"strength", 0.0},
                                 {"quality_check", "retry"}});
  run(asked);
  EXPECT_EQ(said_by(asked.out).at("quality").at("frames"), 5);
}

TEST(QualityRetry, AsksForExactKernelsOnce) {
  Request request;
  request.precision = "fast";
  request.acceleration = "regular";
  request.calibration = "c";
  request.skip_softmax = 0.1;
  request.skip_softmax_dense = 3;
  request.quality_check = "retry";
  const Request exact = exact_of(request);
  EXPECT_TRUE(computes_exactly(exact, {}));
  EXPECT_FALSE(computes_exactly(request, {}));
  StepReuse reuse;
  reuse.steps = {{.has = {true, true}, .reuses = {true, false}}};
  EXPECT_FALSE(computes_exactly(exact, reuse)) << "a step reuses what an earlier one computed";
  EXPECT_EQ(exact.acceleration, "none");
  EXPECT_EQ(exact.quality_check, "warn") << "it never loops";
  EXPECT_EQ(exact.calibration, "");
  EXPECT_EQ(exact.skip_softmax_dense, -1);
  request = exact;
  request.skip_softmax = 0.1;
  EXPECT_FALSE(computes_exactly(request, {}));
}

}  // namespace
}  // namespace wan
