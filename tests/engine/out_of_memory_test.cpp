// A job that runs out of device memory goes on with less of it, and loses no step.
#include <algorithm>

#include "engine/request/params.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

/// As full(), and counts how often it failed.
DeviceBudget::Hook counted(const DeviceBudget::Hook& inner, int64_t& failed) {
  return [inner, &failed](const std::string& what) {
    try {
      inner(what);
    } catch (...) {
      ++failed;
      throw;
    }
  };
}

TEST_F(DeviceMemory, WhatRunsOutGoesOnWithLess) {
  const Request wanted = request(Task::I2V, deeper_model());
  const std::string want = rendered(wanted);
  const uint64_t all = limits_of(wanted).second;
  for (const char* network : {"text encoder", "VAE", "high-noise expert", "low-noise expert"})
    for (int64_t from : {0, 1, 3})
      for (int64_t times : {1, 2}) {
        SCOPED_TRACE(std::string(network) + ", taking " + std::to_string(from) + ", " + std::to_string(times) +
                     " times");
        Told told;
        int64_t failed = 0;
        EXPECT_TRUE(rendered(limited(wanted, all), told, counted(full(network, from, times), failed)) == want);
        EXPECT_EQ(int64_t(told.memory.size()), failed) << "each step is told";
        if (from == 0) {
          EXPECT_EQ(failed, times) << "nothing ran out";
        }
        EXPECT_EQ(told.device.at("left_bytes"), 0);
      }
}

TEST_F(DeviceMemory, SpeechThatRunsOutGoesOnWithLess) {
  const Request wanted =
      request(Task::S2V, kCheckpoints / "Wan2.2-S2V-14B", {{"num_inference_steps", 1}, {"max_seconds", 0.3}});
  const std::string want = rendered(wanted);
  const uint64_t all = limits_of(wanted).second;
  // The text encoder has one block, which goes through one slot the second time.
  for (const char* network : {"text encoder", "VAE", "speech transformer"})
    for (int64_t times : {1, 2}) {
      SCOPED_TRACE(std::string(network) + ", " + std::to_string(times) + " times");
      Told told;
      int64_t failed = 0;
      EXPECT_TRUE(rendered(limited(wanted, all), told, counted(full(network, 0, times), failed)) == want);
      EXPECT_EQ(failed, times) << "nothing ran out";
      EXPECT_EQ(int64_t(told.memory.size()), failed) << "each step is told";
      EXPECT_EQ(told.device.at("left_bytes"), 0);
    }
}

/// Runs out of memory before latent frame `frame` of a decoding, `times` times.
struct OutOfMemoryInDecoding : Progress {
  OutOfMemoryInDecoding(int64_t frame, int64_t times) : frame(frame), times(times) {}
  void at(const Report& report) override {
    if (report.stage != Stage::Decode) return;
    decoded.push_back(report.step);
    TORCH_CHECK_WITH(OutOfMemoryError, report.step != frame || times-- <= 0, "full");
  }
  int64_t frame, times;
  std::vector<int64_t> decoded;
};

TEST_F(DeviceMemory, ADecodingThatRunsOutInTheMiddleIsDoneAgain) {
  for (const Request& wanted :
       {request(Task::T2V, kNano, {{"num_frames", 13}}),
        request(Task::S2V, kCheckpoints / "Wan2.2-S2V-14B", {{"num_inference_steps", 1}, {"max_seconds", 0.3}})}) {
    SCOPED_TRACE(task_name(wanted.task));
    const std::string want = rendered(wanted);
    const auto [least, all] = limits_of(wanted);
    for (const uint64_t limit : {least, all})
      for (const int64_t times : {1, 2}) {
        OutOfMemoryInDecoding progress(2, times);
        Told told;
        EXPECT_TRUE(rendered(limited(wanted, limit), told, {}, &progress) == want);
        EXPECT_EQ(int64_t(told.memory.size()), times);
        EXPECT_LT(progress.times, 0) << "a whole decoding follows";
        EXPECT_TRUE(std::ranges::count(progress.decoded, 1) > times) << "frames before it were decoded";
        EXPECT_EQ(told.device.at("left_bytes"), 0);
      }
  }
}

TEST_F(DeviceMemory, NoStepIsLostWhereMemoryRunsOut) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  save_every_ = std::chrono::hours(1);
  Told told;
  Steps counted;
  // Two takings where it is brought in ahead, one at its first step and one at each later one.
  EXPECT_TRUE(rendered(limited(wanted, limits_of(wanted).second), told, full("low-noise expert", 3, 1), &counted) ==
              want);
  ASSERT_EQ(told.memory.size(), 1u);
  EXPECT_NE(told.memory[0].find("ran out"), std::string::npos);
  EXPECT_EQ(counted.made, 4 + 1) << "the step that ran out is asked for twice, no other";
}

TEST_F(DeviceMemory, TheEndOfTheLadderIsClearAndLeavesNothing) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  for (const char* network : {"text encoder", "VAE", "high-noise expert", "low-noise expert"}) {
    SCOPED_TRACE(network);
    Told told, next;
    const Request under = limited(wanted, limits_of(wanted).second);
    try {
      rendered(under, told, full(network, 0, INT64_MAX / 2));
      ADD_FAILURE() << "a full device is enough";
    } catch (const std::runtime_error& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("[memory] ")) << error.what();
      EXPECT_NE(std::string(error.what()).find(" ran out on cpu with as little on it as can be: full"),
                std::string::npos)
          << error.what();
    }
    EXPECT_EQ(told.device.at("left_bytes"), 0);
    EXPECT_GE(told.memory.size(), 1u);
    EXPECT_TRUE(rendered(under, next) == want);
    EXPECT_TRUE(next.memory.empty());
  }
}

TEST_F(DeviceMemory, TheNextJobOfABatchBeginsAnew) {
  const Request first = request(Task::T2V, kNano), second = request(Task::T2V, kNano, {{"seed", 4}, {"out", "b.mp4"}});
  const std::string want = rendered(second);
  const uint64_t all = limits_of(first).second;
  bool is_full = true;
  Told told;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "failed") is_full = false;
    told.log(event, fields);
  }};
  const DeviceBudget::Hook hook = [&](const std::string& what) {
    TORCH_CHECK_WITH(OutOfMemoryError, !is_full || what != "high-noise expert", "full");
  };
  Silent silent;
  WorkFolder work(folder_ / "work", 1);
  const RunResult result =
      run_jobs({{.line = 1, .request = limited(first, all)}, {.line = 2, .request = limited(second, all)}}, work,
               {.save_every = {}, .budget_hook = hook}, log, silent);
  EXPECT_EQ(result.jobs.at(0).state, JobState::Failed);
  ASSERT_EQ(result.jobs.at(1).state, JobState::Done) << result.jobs.at(1).error;
  EXPECT_TRUE(bytes_of(second.out) == want);
  EXPECT_EQ(told.streamed.at("high-noise expert"), 0) << "as if no job had run out before";
  EXPECT_EQ(told.device.at("left_bytes"), 0);
}

}  // namespace
}  // namespace wan
