// Runs during which a file of the model changes: they end with the file's name, keep their work, and go on with the old
// file to the bytes of a run that was left alone.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "engine/job/scheduler.h"
#include "engine/request/parse.h"
#include "engine/sampling/denoise.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"
#include "tests/layouts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const std::string kLow = "low_noise_model/diffusion_pytorch_model-00002-of-00002.safetensors";

/// Calls `act` once, when the stage first reports that many times.
struct Acting : Progress {
  Acting(Stage stage, int64_t at, std::function<void()> act) : stage(stage), wait(at), act(std::move(act)) {}
  void at(const Report& report) override {
    if (report.stage == stage && wait-- == 0) act();
  }
  Stage stage;
  int64_t wait;
  std::function<void()> act;
};

struct ChangedFiles : testing::Test {
  ChangedFiles() { fs::copy(layouts::kNano, folder / "m", fs::copy_options::recursive); }

  fs::path at(const std::string& name) const { return folder / "m" / name; }
  Request request(const std::string& out) const {
    return parse({{"task", "t2v"},
                  {"model", (folder / "m").string()},
                  {"prompt", "a red circle"},
                  {"unlocked", true},
                  {"width", 32},
                  {"height", 32},
                  {"num_frames", 5},
                  {"num_inference_steps", 4},
                  {"device", "cpu"},
                  {"seed", 3},
                  {"out", folder / out}},
                 {});
  }
  /// The message of a render that a file of the model ends; "made" where none does.
  std::string run(const std::string& out, Progress& progress) const {
    c10::InferenceMode inference;
    try {
      render(request(out), {.save_every = {}}, Log{}, progress);
    } catch (const ModelError& error) {
      return error.what();
    }
    return "made";
  }
  void swap_low() const {
    fs::rename(at(kLow), at("aside"));
    fs::copy(at("high_noise_model") / fs::path(kLow).filename(), at(kLow));
  }
  void put_back() const { fs::rename(at("aside"), at(kLow)); }
  bool keeps(const std::string& out, const std::string& kind) const {
    std::error_code absent;
    for (const auto& entry : fs::directory_iterator(folder / (out + ".work"), absent))
      if (entry.path().filename().string().ends_with(kind)) return true;
    return false;
  }

  /// Of a.mp4.
  int64_t steps_saved() const {
    for (const auto& entry : fs::directory_iterator(folder / "a.mp4.work"))
      if (entry.path().filename().string().ends_with(".sampling.safetensors")) return saved_step(entry.path());
    return 0;
  }

  TemporaryFolder folder;
  Silent silent;
};

TEST_F(ChangedFiles, AnExpertThatIsSwappedDuringTheOtherOnesStepsIsNotLoaded) {
  ASSERT_EQ(run("whole.mp4", silent), "made");
  Acting swapping(Stage::Denoise, 1, [&] { swap_low(); });
  const std::string why = run("a.mp4", swapping);
  EXPECT_NE(why.find("[" + kLow + "] must stay as it was when the run began, had "), std::string::npos) << why;
  EXPECT_TRUE(keeps("a.mp4", ".sampling.safetensors"));
  EXPECT_FALSE(fs::exists(folder / "a.mp4"));
  put_back();
  EXPECT_EQ(run("a.mp4", silent), "made");
  EXPECT_TRUE(bytes_of(folder / "a.mp4") == bytes_of(folder / "whole.mp4"));
  EXPECT_FALSE(fs::exists(folder / "a.mp4.work"));
}

TEST_F(ChangedFiles, AnExpertThatIsSwappedBeforeTheFirstStepKeepsWhatWasEncoded) {
  Acting swapping(Stage::Encode, 1, [&] { fs::rename(at("high_noise_model"), at("aside")); });  // at the second prompt
  const std::string why = run("a.mp4", swapping);
  EXPECT_NE(why.find("] must stay as it was when the run began, had "), std::string::npos) << why;
  EXPECT_NE(why.find("and is gone"), std::string::npos) << why;
  EXPECT_TRUE(fs::exists(folder / "a.mp4.work"));
  fs::rename(at("aside"), at("high_noise_model"));
  EXPECT_EQ(run("a.mp4", silent), "made");
}

TEST_F(ChangedFiles, WhatWasComputedFromAFileThatIsWrittenToIsNotKept) {
  ASSERT_EQ(run("whole.mp4", silent), "made");
  const fs::path file = at("high_noise_model") / fs::path(kLow).filename();
  const std::string before = bytes_of(file);
  const auto time = fs::last_write_time(file);
  const auto write = [&](const std::string& bytes, fs::file_time_type when) {
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary) << bytes;
    fs::last_write_time(file, when);
  };
  std::string other = before;
  const uint64_t first = read_tensors(MappedFile::open(file)).begin()->second.offset;
  other.replace(size_t(first), 4, "?!?!");
  Acting writing(Stage::Denoise, 1, [&] { write(other, time + std::chrono::seconds(1)); });
  const std::string why = run("a.mp4", writing);
  EXPECT_NE(why.find("high_noise_model/"), std::string::npos) << why;
  EXPECT_NE(why.find("must stay as it was"), std::string::npos) << why;
  EXPECT_EQ(steps_saved(), 1) << "not the step of changed weights";
  write(before, time + std::chrono::seconds(2));
  EXPECT_EQ(run("a.mp4", silent), "made");
  EXPECT_TRUE(bytes_of(folder / "a.mp4") == bytes_of(folder / "whole.mp4"));
}

TEST_F(ChangedFiles, ABatchKeepsItsWorkBetweenPhases) {
  ASSERT_EQ(run("whole.mp4", silent), "made");
  const auto batch = [&](Progress& progress) {
    c10::InferenceMode inference;
    WorkFolder work(folder / "work", WorkFolder::draw_number(folder / "work"));
    return run_jobs({{.line = 1, .request = request("a.mp4")}, {.line = 2, .request = request("b.mp4")}}, work,
                    {.save_every = {}}, Log{}, progress);
  };
  Acting swapping(Stage::Denoise, 3, [&] { swap_low(); });  // at a step of the second job
  const RunResult ended = batch(swapping);
  for (const JobResult& job : ended.jobs) {
    EXPECT_EQ(job.state, JobState::Failed);
    EXPECT_NE(job.error.find("[" + kLow + "] must stay as it was when the run began"), std::string::npos) << job.error;
    ASSERT_TRUE(job.failure);
    EXPECT_THROW(std::rethrow_exception(job.failure), ModelError);
  }
  put_back();
  Steps counted;
  const RunResult finished = batch(counted);
  EXPECT_EQ(finished.count(JobState::Done), 2);
  EXPECT_LE(counted.made, 4) << "the steps of the high-noise expert were kept";
  EXPECT_TRUE(bytes_of(folder / "b.mp4") == bytes_of(folder / "whole.mp4"));
}

TEST_F(ChangedFiles, ANewFileBetweenTwoRunsBeginsAnew) {
  Steps stop(3);
  c10::InferenceMode inference;
  EXPECT_THROW(render(request("a.mp4"), {.save_every = {}}, Log{}, stop), Cancelled);
  EXPECT_TRUE(keeps("a.mp4", ".sampling.safetensors"));
  swap_low();
  Steps counted;
  EXPECT_EQ(run("a.mp4", counted), "made");
  EXPECT_EQ(counted.made, 4) << "no step of the old file is taken up";
}

}  // namespace
}  // namespace wan
