// A card that is lost in the middle of a run: what was saved stays, no other job is begun, and the same command goes
// on. The hook of the device's budget throws what libtorch throws then.
#include "engine/residency/failure.h"

#include "engine/job/attempts.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

constexpr int32_t kUnknown = 999, kLaunchFailure = 719;  // cudaErrorUnknown, cudaErrorLaunchFailure

/// An error of CUDA as libtorch words it.
[[noreturn]] void fail(int32_t code, const std::string& words) {
  throw c10::AcceleratorError({__func__, __FILE__, uint32_t(__LINE__)}, code,
                              "CUDA error: " + words +
                                  "\nSearch for the error in https://docs.nvidia.com/cuda\nCUDA kernel errors might be "
                                  "asynchronously reported at some other API call");
}

class LostDevice : public DeviceMemory {
 protected:
  /// Ends what is taken for `network` from the taking number `from` on, each time.
  static DeviceBudget::Hook lost(const std::string& network, int64_t from) {
    return [=, at = int64_t(0)](const std::string& what) mutable {
      if (what == network && at++ >= from) fail(kUnknown, "unknown error");
    };
  }
  /// Ends the first taking for the high-noise expert by `end`; later ones are counted in `later`, of any network.
  static DeviceBudget::Hook once(const std::function<void()>& end, int64_t& later) {
    return [&later, end, ended = false](const std::string& what) mutable {
      if (ended) ++later;
      if (ended || what != "high-noise expert") return;
      ended = true;
      end();
    };
  }
  /// What a run throws; "rendered" where it does not.
  std::string failure(const Request& request, Told& told, DeviceBudget::Hook hook) {
    try {
      rendered(request, told, std::move(hook));
    } catch (const DeviceLost& lost) {
      return lost.what();
    }
    return "rendered";
  }
};

TEST_F(LostDevice, WhatWasSavedStaysAndTheSameCommandGoesOn) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const Request under = limited(wanted, limits_of(wanted).second);
  struct Row {
    const char* network;
    int64_t from;         // of its takings
    int64_t least, most;  // steps that the second run makes
    bool keeps;           // whether anything had been made
  };
  // Of the low-noise expert two takings are ahead of its first step, one at each step.
  for (const Row& row : {Row{"text encoder", 0, 4, 4, false}, Row{"high-noise expert", 0, 4, 4, true},
                         Row{"low-noise expert", 3, 1, 3, true}, Row{"VAE", 0, 0, 0, true}}) {
    SCOPED_TRACE(row.network);
    Told told, next;
    const std::string text = failure(under, told, lost(row.network, row.from));
    EXPECT_TRUE(
        text.starts_with("[device] cpu can compute nothing more in this run: CUDA error: unknown error; the "
                         "same command goes on from what was saved."))
        << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_TRUE(told.memory.empty()) << "less on the device would not help";
    EXPECT_EQ(fs::exists(WorkFolder::beside(wanted.out)), row.keeps);
    Steps counted;
    EXPECT_TRUE(rendered(under, next, {}, &counted) == want);
    EXPECT_GE(counted.made, row.least);
    EXPECT_LE(counted.made, row.most);
  }
}

TEST_F(LostDevice, NoOtherJobOfABatchIsBegunAndTheNextRunMakesAll) {
  const Request first = request(Task::T2V, kNano), second = request(Task::T2V, kNano, {{"seed", 4}, {"out", "b.mp4"}});
  const std::string want_first = rendered(first), want_second = rendered(second);
  const uint64_t all = limits_of(first).second;
  const std::vector<JobRequest> jobs = {{.line = 1, .request = limited(first, all)},
                                        {.line = 2, .request = limited(second, all)}};
  for (bool given_order : {false, true}) {
    SCOPED_TRACE(given_order);
    int64_t later = 0, noted = 0;
    Silent silent;
    const Log log{[&](std::string_view event, const Log::Fields& fields) {
      noted += event == "note" && fields.value("subject", "") == "device";
    }};
    {
      WorkFolder work(folder_ / "work", 1);
      const DeviceBudget::Hook hook = once([] { fail(kLaunchFailure, "unspecified launch failure"); }, later);
      const RunResult result =
          run_jobs(jobs, work, {.given_order = given_order, .save_every = {}, .budget_hook = hook}, log, silent);
      EXPECT_EQ(result.jobs.at(0).state, JobState::Failed);
      EXPECT_TRUE(
          result.jobs.at(0).error.starts_with("[device] cpu can compute nothing more in this run: CUDA error: "
                                              "unspecified launch failure; "))
          << result.jobs.at(0).error;
      EXPECT_EQ(result.jobs.at(1).state, JobState::Left) << result.jobs.at(1).error;
      EXPECT_EQ(later, 0) << "nothing is asked of a lost device";
      EXPECT_EQ(noted, 1);
    }
    WorkFolder work(folder_ / "work", 1);
    const RunResult result = run_jobs(jobs, work, {.save_every = {}}, Log{}, silent);
    EXPECT_EQ(result.count(JobState::Done), 2) << result.jobs.at(0).error << result.jobs.at(1).error;
    EXPECT_TRUE(bytes_of(first.out) == want_first && bytes_of(second.out) == want_second);
    for (const Request& made : {first, second}) fs::remove(made.out);
    work.discard();
  }
}

TEST_F(LostDevice, WhereALibraryFailsTheDeviceIsAsked) {
  const Request first = request(Task::T2V, kNano), second = request(Task::T2V, kNano, {{"seed", 4}, {"out", "b.mp4"}});
  const uint64_t all = limits_of(first).second;
  for (bool alive : {false, true}) {
    SCOPED_TRACE(alive);
    int64_t later = 0, asked = 0;
    const DeviceBudget::Hook hook =
        once([] { TORCH_CHECK(false, "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"); }, later);
    const auto answers = [&](at::Device device) {
      EXPECT_EQ(device, at::Device(at::kCPU));
      ++asked;
      return alive;
    };
    Silent silent;
    WorkFolder work(folder_ / "work", 1);
    const RunResult result =
        run_jobs({{.line = 1, .request = limited(first, all)}, {.line = 2, .request = limited(second, all)}}, work,
                 {.save_every = {}, .budget_hook = hook, .device_answers = answers}, Log{}, silent);
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(result.jobs.at(0).state, JobState::Failed);
    EXPECT_EQ(result.jobs.at(0).error.starts_with("[device] "), !alive) << result.jobs.at(0).error;
    EXPECT_NE(result.jobs.at(0).error.find("CUDNN_STATUS_EXECUTION_FAILED"), std::string::npos);
    EXPECT_EQ(result.jobs.at(1).state, alive ? JobState::Done : JobState::Left) << result.jobs.at(1).error;
    if (alive) fs::remove(second.out);
    work.discard();
  }
}

TEST_F(LostDevice, OtherWordsForNoMemoryMakeRoomAndLoseNoStep) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const Request under = limited(wanted, limits_of(wanted).second);
  save_every_ = std::chrono::hours(1);
  const std::vector<std::function<void()>> ways = {
      [] { fail(2, "out of memory"); },
      [] { TORCH_CHECK(false, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"); },
      [] { TORCH_CHECK(false, "GET was unable to find an engine to execute this computation"); }};
  for (const auto& way : ways) {
    Told told;
    Steps counted;
    int64_t taking = 0;
    const DeviceBudget::Hook hook = [&](const std::string& what) {
      if (what == "low-noise expert" && taking++ == 3) way();
    };
    EXPECT_TRUE(rendered(under, told, hook, &counted) == want);
    EXPECT_EQ(told.memory.size(), 1u);
    EXPECT_EQ(counted.made, 4 + 1) << "the step that ran out is asked for twice, no other";
  }
}

TEST_F(LostDevice, MemoryThatRunsOutToTheEndIsOneLine) {
  const Request wanted = request(Task::T2V, kNano);
  Told told;
  const DeviceBudget::Hook hook = [](const std::string& what) {
    if (what == "high-noise expert") fail(2, "out of memory");
  };
  try {
    rendered(limited(wanted, limits_of(wanted).second), told, hook);
    ADD_FAILURE() << "it has memory";
  } catch (const std::exception& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with(
        "[memory] high_noise ran out on cpu with as little on it as can be: CUDA error: out of memory; "
        "finished steps are kept, "))
        << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
  EXPECT_FALSE(told.memory.empty()) << "the ladder comes first";
}

/// Latents of a run that was stopped before its decoding, and their decoding by itself.
class LostDeviceDecoding : public LostDevice {
 protected:
  LostDeviceDecoding() {
    Steps stopped(Stage::Decode);
    EXPECT_THROW(render(wanted_, {}, Log{}, stopped), Cancelled);
    const fs::path work = WorkFolder::beside(wanted_.out);
    latents_ = WorkFolder(work, WorkFolder::draw_number(work)).latents().value();
  }

  /// The file's bytes; it is removed.
  std::string decoded(Told& told, DeviceBudget::Hook hook = {},
                      const std::function<bool(at::Device)>& device_answers = {}) {
    Silent silent;
    decode_saved(load_latents(latents_), wanted_.out, resolve_placement(under_, nullptr, std::move(hook)),
                 parts_of(wanted_.model, wanted_.task), {}, told.log, silent, device_answers);
    std::string bytes = bytes_of(wanted_.out);
    fs::remove(wanted_.out);
    return bytes;
  }
  std::string decoded() {
    Told told;
    return decoded(told);
  }
  /// What is told of a decoding that fails; the latents stay, no file appears.
  template <typename Failure>
  std::string failure(Told& told, DeviceBudget::Hook hook, const std::function<bool(at::Device)>& answers = {}) {
    std::string text = "decoded";
    try {
      decoded(told, std::move(hook), answers);
    } catch (const Failure& error) {
      text = error.what();
    }
    EXPECT_TRUE(fs::exists(latents_));
    EXPECT_FALSE(fs::exists(wanted_.out));
    return text;
  }

  const Request wanted_ = request(Task::T2V, kNano, {{"num_frames", 13}});
  const Request under_ = limited(wanted_, limits_of(wanted_).second);
  fs::path latents_;
};

TEST_F(LostDeviceDecoding, ThatRunsOutGoesOnWithLess) {
  const std::string want = decoded();
  for (const int64_t times : {1, 2}) {
    Told told;
    EXPECT_TRUE(decoded(told, full("VAE", 0, times)) == want);
    EXPECT_EQ(int64_t(told.memory.size()), times) << "each step is told";
  }
  Told told;
  const std::string text = failure<std::runtime_error>(told, full("VAE", 0, INT64_MAX / 2));
  EXPECT_TRUE(
      text.starts_with("[memory] decode ran out on cpu with as little on it as can be: full; the latents are "
                       "kept, "))
      << text;
  EXPECT_FALSE(told.memory.empty()) << "the ladder comes first";
  EXPECT_TRUE(decoded() == want);
}

TEST_F(LostDeviceDecoding, ThatLosesItsDeviceKeepsTheLatents) {
  const std::string want = decoded();
  Told told;
  const std::string text = failure<DeviceLost>(told, lost("VAE", 0));
  EXPECT_TRUE(
      text.starts_with("[device] cpu can compute nothing more in this run: CUDA error: unknown error; the same "
                       "command goes on from what was saved."))
      << text;
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  EXPECT_TRUE(told.memory.empty()) << "less on the device would not help";
  EXPECT_TRUE(decoded() == want);
}

TEST_F(LostDeviceDecoding, WhereALibraryFailsTheDeviceIsAsked) {
  const DeviceBudget::Hook hook = [](const std::string& what) {
    TORCH_CHECK(what != "VAE", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED");
  };
  int64_t asked = 0;
  const auto answers = [&](bool alive) {
    return [&asked, alive](at::Device device) {
      EXPECT_EQ(device, at::Device(at::kCPU));
      ++asked;
      return alive;
    };
  };
  Told told;
  EXPECT_TRUE(failure<DeviceLost>(told, hook, answers(false)).starts_with("[device] cpu can compute nothing more"));
  EXPECT_NE(failure<c10::Error>(told, hook, answers(true)).find("CUDNN_STATUS_EXECUTION_FAILED"), std::string::npos);
  EXPECT_EQ(asked, 2);
}

TEST(Attempts, ThatRunOutNameTheWayOutOfTheirStage) {
  Attempts attempts{.stage = "finish",
                    .kept = "the input is as it was",
                    .device = [] { return std::string("cuda:0"); },
                    .answers = [] { return true; },
                    .make_room = [](bool) { return false; }};
  const auto text = [&]() -> std::string {
    try {
      attempt(attempts, [] { TORCH_CHECK_WITH(OutOfMemoryError, false, "full"); });
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  };
  const std::string begin =
      "[memory] finish ran out on cuda:0 with as little on it as can be: full; "
      "the input is as it was, ";
  EXPECT_EQ(text(), begin + "fewer frames or a smaller size need less");
  attempts.less = "a smaller size needs less";
  EXPECT_EQ(text(), begin + "a smaller size needs less");
}

TEST(Failure, ErrorsOfADeviceAreOneLineWithAWayOut) {
  const auto text = [](const std::function<void()>& end) -> std::string {
    try {
      end();
    } catch (const std::exception& error) {
      return text_of(error);
    }
    return "";
  };
  const std::string gone = text([] { fail(kUnknown, "unknown error"); });
  EXPECT_TRUE(gone.starts_with("[device] the device can compute nothing more in this run: CUDA error: unknown error; "))
      << gone;
  EXPECT_EQ(gone.find('\n'), std::string::npos) << gone;
  EXPECT_EQ(text([] { fail(1, "invalid argument"); }), "CUDA error: invalid argument") << "without advice on debugging";
  EXPECT_EQ(text([] { C10_THROW_ERROR(OutOfMemoryError, "tried to allocate 40 GiB"); }),
            "[memory] ran out; fewer frames, a smaller size or fewer other programs need less of it");
  EXPECT_EQ(text([] { fail(2, "out of memory"); }),
            "[memory] ran out; fewer frames, a smaller size or fewer other programs need less of it (CUDA error: out "
            "of memory)");
  EXPECT_EQ(text([] { throw DeviceLost("[device] cuda:0 is lost"); }), "[device] cuda:0 is lost");
  EXPECT_TRUE(answers(at::kCPU));
}

}  // namespace
}  // namespace wan
