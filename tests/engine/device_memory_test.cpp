// --device-memory on the CPU, which then stands for a card: whatever the limit, a video has the same bytes; what runs
// out of memory goes on with less.
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/png.h"
#include "engine/request/parse.h"
#include "engine/residency/needs.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/engine/media_support.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano",
               kCheckpoints = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints";

/// What a run logged of its device.
struct Told {
  std::map<std::string, int64_t> streamed = {};  // blocks of each network that was loaded, as it was loaded last
  std::vector<std::string> memory = {};          // steps of the ladder
  nlohmann::json device = {};
  Log log{[this](std::string_view event, const Log::Fields& fields) {
    if (event == "load") streamed[fields.at("network")] = fields.value("blocks_streamed", int64_t(0));
    if (event == "memory") memory.push_back(fields.at("text"));
    if (event == "device") device = fields;
  }};
};

class DeviceMemory : public testing::Test {
 protected:
  DeviceMemory() {
    write_png(folder_ / "face.png", moving_picture(1, 64, 64)[0]);
    write_sound(folder_ / "voice.wav", 16000, 1);
  }

  /// The checkpoint of image to video with four blocks in each expert, of which it has one.
  fs::path deeper_model() const {
    const fs::path from = kCheckpoints / "Wan2.2-I2V-A14B", to = folder_ / "i2v";
    fs::copy(from, to, fs::copy_options::recursive);
    for (const char* expert : {"high_noise_model", "low_noise_model"}) {
      const Checkpoint file = Checkpoint::open(from / expert);
      std::map<std::string, at::Tensor> tensors;
      for (const auto& entry : file.tensors()) {
        const std::string& name = entry.first;
        const at::Tensor values = file.map(name).contiguous();
        tensors[name] = values;
        constexpr std::string_view kFirst = "blocks.0.";
        for (int block = 1; name.starts_with(kFirst) && block < 4; ++block)
          tensors["blocks." + std::to_string(block) + "." + name.substr(kFirst.size())] = values * (1 + 0.1 * block);
      }
      for (const auto& path : Checkpoint::paths(to / expert)) fs::remove(path);
      write_safetensors(to / expert / "diffusion_pytorch_model.safetensors", tensors);
      std::ifstream in(to / expert / "config.json");
      nlohmann::json config = nlohmann::json::parse(in);
      config["num_layers"] = 4;
      std::ofstream(to / expert / "config.json") << config.dump();
    }
    return to;
  }

  Request request(Task task, const fs::path& model, nlohmann::json more = nlohmann::json::object()) const {
    nlohmann::json fields = {{"model", model.string()},
                             {"prompt", "a red circle"},
                             {"unlocked", true},
                             {"width", 64},
                             {"height", 64},
                             {"num_inference_steps", 4},
                             {"seed", 3},
                             {"device", "cpu"},
                             {"out", folder_ / "a.mp4"}};
    if (task != Task::S2V) fields["num_frames"] = 5;
    if (task == Task::I2V || task == Task::S2V) fields["image_url"] = "face.png";
    if (task == Task::S2V) fields["audio_url"] = "voice.wav";
    fields.update(more);
    return parse(task, fields, {.folder = folder_.path()});
  }
  Request limited(Request request, uint64_t bytes) const {
    request.device_memory = std::to_string(bytes) + "B";
    return request;
  }

  /// The file's bytes; it is removed.
  std::string rendered(const Request& request, Told& told, DeviceBudget::Hook hook = {}, Progress* progress = nullptr) {
    Silent silent;
    const std::string out = render(request, {.save_every = save_every_, .budget_hook = std::move(hook)}, told.log,
                                   progress ? *progress : silent);
    std::string bytes = bytes_of(out);
    fs::remove(out);
    return bytes;
  }
  std::string rendered(const Request& request) {
    Told told;
    return rendered(request, told);
  }

  /// The least that a job fits into, and what all its networks take at once.
  std::pair<uint64_t, uint64_t> limits_of(const Request& request) const {
    const Placement placement = resolve_placement(limited(request, 1));
    const ModelParts parts = parts_of(request.model, request.task);
    const MemoryNeed need = memory_need(parts, largest_extent(request), placement);
    uint64_t all = need.working;
    while (!all_fit(parts, placement, need.working, all)) all += all / 64 + 1;
    return {need.bytes, all};
  }

  /// Renders under limits from all that is wanted down to the least.
  void expect_the_same_bytes(const Request& request, const std::string& network) {
    const std::string want = rendered(request);
    const auto [least, all] = limits_of(request);
    ASSERT_LT(least, all);
    int64_t streamed = -1;
    for (int part : {0, 1, 2, 4, 8}) {
      const uint64_t limit = all - (all - least) * uint64_t(part) / 8;
      SCOPED_TRACE(std::to_string(limit) + " bytes of " + std::to_string(least) + " to " + std::to_string(all));
      Told told;
      EXPECT_TRUE(rendered(limited(request, limit), told) == want);
      EXPECT_LE(told.device.at("peak_bytes").get<uint64_t>(), limit);
      EXPECT_EQ(told.device.at("left_bytes"), 0);
      if (part == 0) {
        EXPECT_EQ(told.streamed.at(network), 0);
      }
      EXPECT_GE(told.streamed.at(network), streamed);
      streamed = told.streamed.at(network);
    }
    EXPECT_GE(streamed, 1);
    try {
      rendered(limited(request, least - 1));
      ADD_FAILURE() << "less than two blocks are enough";
    } catch (const InvalidRequest& refused) {
      const std::string line = refused.errors.at(0).line();
      EXPECT_TRUE(line.starts_with("[device_memory] must hold " + gigabytes(least) + " for ")) << line;
      EXPECT_NE(line.find("with two blocks of a network at a time, got " + gigabytes(least - 1) + " on cpu"),
                std::string::npos)
          << line;
    }
    EXPECT_FALSE(fs::exists(request.out));
  }

  TemporaryFolder folder_;
  std::chrono::milliseconds save_every_ = {};  // after each step

 private:
  c10::InferenceMode inference_;
};

TEST_F(DeviceMemory, TextToVideoHasTheSameBytes) {
  expect_the_same_bytes(request(Task::T2V, kNano), "high-noise expert");
}
TEST_F(DeviceMemory, ImageToVideoHasTheSameBytes) {
  expect_the_same_bytes(request(Task::I2V, deeper_model()), "low-noise expert");
}
TEST_F(DeviceMemory, SpeechHasTheSameBytes) {
  expect_the_same_bytes(
      request(Task::S2V, kCheckpoints / "Wan2.2-S2V-14B", {{"num_inference_steps", 2}, {"max_seconds", 0.3}}),
      "speech transformer");
}

TEST_F(DeviceMemory, LowerPrecisionAndKeptFormsHaveTheSameBytes) {
  for (const nlohmann::json& more :
       {nlohmann::json{{"precision", "balanced"}}, nlohmann::json{{"dtype", "bf16"}},
        nlohmann::json{{"weights", "fp8"}}, nlohmann::json{{"precision", "fast"}, {"dtype", "bf16"}}}) {
    SCOPED_TRACE(more.dump());
    const Request wanted = request(Task::T2V, kNano, more);
    const auto [least, all] = limits_of(wanted);
    const std::string want = rendered(wanted);
    EXPECT_TRUE(rendered(limited(wanted, all)) == want);
    EXPECT_TRUE(rendered(limited(wanted, least)) == want);
  }
}

TEST_F(DeviceMemory, ASecondJobIsAsTheFirst) {
  const Request wanted = limited(request(Task::T2V, kNano), limits_of(request(Task::T2V, kNano)).first);
  Told first, second;
  EXPECT_TRUE(rendered(wanted, first) == rendered(wanted, second));
  EXPECT_EQ(first.device.at("peak_bytes"), second.device.at("peak_bytes"));
  EXPECT_EQ(first.streamed, second.streamed);
}

TEST_F(DeviceMemory, AJobGoesOnUnderAnotherLimit) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const auto [least, all] = limits_of(wanted);
  Told told;
  Steps few(2), rest;
  EXPECT_THROW(rendered(limited(wanted, all), told, {}, &few), Cancelled);
  EXPECT_TRUE(rendered(limited(wanted, least), told, {}, &rest) == want);
  EXPECT_EQ(rest.made, 2) << "no step twice";
}

TEST_F(DeviceMemory, TheLowNoiseExpertIsThereAtTheSwitch) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const auto [least, all] = limits_of(wanted);
  for (uint64_t limit : {all, all - 1, least + (all - least) / 16}) {
    std::vector<std::string> loads;
    const Log log{[&](std::string_view event, const Log::Fields& fields) {
      if (event == "load" && fields.at("network") != "VAE") loads.push_back(fields.at("network"));
    }};
    // The last report of a step before the load says in which step it was.
    struct Watch : Progress {
      explicit Watch(std::vector<std::string>& loads) : loads(loads) {}
      void at(const Report& report) override {
        if (report.stage == Stage::Denoise) loads.push_back("step " + report.expert);
      }
      std::vector<std::string>& loads;
    } watch(loads);
    render(limited(wanted, limit), {.save_every = {}}, log, watch);
    EXPECT_TRUE(bytes_of(wanted.out) == want);
    fs::remove(wanted.out);
    const auto low = std::find(loads.begin(), loads.end(), "low-noise expert");
    ASSERT_NE(low, loads.end());
    EXPECT_EQ(*(low - 1), "step high") << "is brought in while the high-noise expert computes";
    ASSERT_NE(low + 1, loads.end());
    EXPECT_EQ(*(low + 1), "step low");
  }
}

/// Fails as a full device does: at the takings number `from` to `from + times - 1` of a network.
DeviceBudget::Hook full(const std::string& network, int64_t from, int64_t times) {
  return [=, at = int64_t(0)](const std::string& what) mutable {
    if (what != network) return;
    const int64_t now = at++;
    TORCH_CHECK_WITH(OutOfMemoryError, now < from || now >= from + times, "full");
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
        const DeviceBudget::Hook hook = [&, inner = full(network, from, times)](const std::string& what) mutable {
          try {
            inner(what);
          } catch (...) {
            ++failed;
            throw;
          }
        };
        EXPECT_TRUE(rendered(limited(wanted, all), told, hook) == want);
        EXPECT_EQ(int64_t(told.memory.size()), failed) << "each step is told";
        EXPECT_EQ(told.device.at("left_bytes"), 0);
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
  EXPECT_EQ(told.device.at("left_bytes"), 0);
}

TEST(DeviceBudget, CountsExactly) {
  DeviceBudget budget(100);
  {
    const DeviceBudget::Lease one = budget.take(60, "one");
    DeviceBudget::Lease two = budget.take(40, "two");
    EXPECT_EQ(budget.used(), 100u);
    EXPECT_EQ(budget.free(), 0u);
    try {
      budget.take(1, "three");
      ADD_FAILURE() << "101 of 100";
    } catch (const c10::OutOfMemoryError& error) {
      EXPECT_STREQ(error.what_without_backtrace(),
                   "[device_memory] must have 0.00 MB more for three, got 0.00 MB left of 0.00 MB");
    }
    two = {};
    EXPECT_EQ(budget.used(), 60u);
    DeviceBudget::Lease three = budget.take(10, "three"), moved = std::move(three);
    EXPECT_EQ(budget.used(), 70u);
  }
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_EQ(budget.peak(), 100u);
  EXPECT_THROW(budget.take(UINT64_MAX, "all"), c10::OutOfMemoryError);
}

NetworkSizes sizes_of(uint64_t outside, const std::vector<uint64_t>& blocks) {
  NetworkSizes sizes;
  sizes.outside = outside;
  for (const uint64_t bytes : blocks) sizes.blocks.push_back({.device = bytes});
  return sizes;
}

TEST(Lying, KeepsAsManyBlocksAsFit) {
  const NetworkSizes sizes = sizes_of(1000, {512, 512, 512, 512, 512, 512});
  const auto bytes = [](uint64_t blocks) { return 1000 + blocks * 512; };
  EXPECT_EQ(least_bytes(sizes), bytes(2));
  EXPECT_EQ(lying_for(sizes, bytes(6))->blocks.kept, 6);
  EXPECT_EQ(lying_for(sizes, bytes(6) - 1)->blocks.kept, 2) << "beside three slots";
  EXPECT_EQ(lying_for(sizes, bytes(6), 1)->blocks.kept, 1);
  EXPECT_EQ(lying_for(sizes, bytes(6), 0)->device_bytes, bytes(3));
  EXPECT_EQ(lying_for(sizes, bytes(3) - 1)->blocks.slots, 2);
  EXPECT_EQ(lying_for(sizes, bytes(2))->device_bytes, bytes(2));
  EXPECT_FALSE(lying_for(sizes, bytes(2) - 1));
  EXPECT_EQ(lying_for(sizes_of(1000, {}), 1000)->device_bytes, 1000u);
  EXPECT_FALSE(lying_for(sizes_of(1000, {}), 999));
  // What is planned is what BlockMemory takes.
  for (const uint64_t room : {bytes(2), bytes(3), bytes(4), bytes(5), bytes(6)}) {
    const Lying lying = *lying_for(sizes, room);
    EXPECT_EQ(lying.device_bytes, 1000 + block_bytes(device_sizes(sizes), lying.blocks));
  }
}

// The planner counts with the same blocks that are streamed.
TEST(Lying, BlocksAreSpreadAsPlanned) {
  for (int64_t blocks = 1; blocks <= 48; ++blocks)
    for (int64_t kept = 0; kept <= blocks; ++kept) {
      const std::vector<bool> stays = spread_evenly(blocks, kept);
      std::vector<int64_t> others;
      for (int64_t i = 0; i < blocks; ++i)
        if (!stays[size_t(i)]) others.push_back(i);
      EXPECT_EQ(streamed_of(blocks, kept), others) << kept << " of " << blocks;
    }
}

TEST(DeviceMemory, OfARequestIsCheckedAndNotStored) {
  const nlohmann::json fields = {{"model", "m"}, {"prompt", "p"}, {"seed", 1}};
  nlohmann::json with = fields;
  with["device_memory"] = "20GB";
  const Request request = parse(Task::T2V, with), without = parse(Task::T2V, fields);
  EXPECT_EQ(request.device_memory, "20GB");
  EXPECT_EQ(to_json(request).dump(), to_json(without).dump());
  with["device_memory"] = "much";
  try {
    parse(Task::T2V, with);
    ADD_FAILURE() << "\"much\" is a size";
  } catch (const InvalidRequest& refused) {
    EXPECT_EQ(refused.errors.at(0).line(),
              "[device_memory] must be a number of bytes with its unit, such as 20GB or 900MB, got 'much'");
  }
}

}  // namespace
}  // namespace wan
