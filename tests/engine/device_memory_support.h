// What tests of a budget of device memory share.
#pragma once

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/png.h"
#include "engine/media/writer.h"
#include "engine/request/parse.h"
#include "engine/residency/largest_fit.h"
#include "engine/residency/request_workload.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/engine/media_support.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {

namespace fs = std::filesystem;

inline const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano",
                      kCheckpoints = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints";

/// What a run logged of its device.
struct Told {
  std::map<std::string, int64_t> streamed = {};  // blocks of each network that was loaded, as it was loaded last
  std::map<std::string, uint64_t> phases = {};   // the most that was counted at once in each
  std::vector<std::string> memory = {};          // steps of the ladder
  nlohmann::json device = {};
  Log log{[this](std::string_view event, const Log::Fields& fields) {
    if (event == "load") streamed[fields.at("network")] = fields.value("blocks_streamed", int64_t(0));
    if (event == "memory") memory.push_back(fields.at("text"));
    if (event == "device") device = fields;
    if (event == "phase") phases[fields.at("phase")] = fields.value("device_bytes", uint64_t(0));
  }};
};

class DeviceMemory : public testing::Test {
 protected:
  DeviceMemory() {
    write_png(folder_ / "face.png", moving_picture(1, 64, 64)[0]);
    write_sound(folder_ / "voice.wav", 16000, 1);
    VideoWriter clip(folder_ / "clip.mp4", {.height = 64, .width = 64, .rate = {8, 1}});
    clip.write(moving_picture(5, 64, 64));
    clip.finish();
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
    if (task == Task::V2V) fields["video_url"] = "clip.mp4";
    if (task == Task::I2V || task == Task::S2V) fields["image_url"] = "face.png";
    if (task == Task::S2V) fields["audio_url"] = "voice.wav";
    fields.update(more);
    return parse(task, fields, {.folder = folder_.path()});
  }
  static Request limited(Request request, uint64_t bytes) {
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

  /// Of a request as the planner sees it where the CPU stands for a card.
  static Workload workload(const Request& request) {
    return workload_of(request, parts_of(request.model, request.task), resolve_placement(limited(request, 1)), true);
  }

  /// The least that a job fits into, and what all its networks take at once.
  static std::pair<uint64_t, uint64_t> limits_of(const Request& request) {
    const Workload work = workload(request);
    Machine nothing;
    nothing.is_card = nothing.stands_in = true;
    uint64_t all = activations_of(work).most();
    for (const auto& [network, sizes] : work.networks) all += network == Network::AudioEncoder ? 0 : sizes.device();
    return {shortage(work, nothing, work.extent)->bytes, all};
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
      EXPECT_NE(line.find(", got " + gigabytes(least - 1) + " of cpu as a card; "), std::string::npos) << line;
    }
    EXPECT_FALSE(fs::exists(request.out));
  }

  TemporaryFolder folder_;
  std::chrono::milliseconds save_every_ = {};  // after each step

 private:
  c10::InferenceMode inference_;
};

/// Fails as a full device does: at the takings number `from` to `from + times - 1` of a network.
inline DeviceBudget::Hook full(const std::string& network, int64_t from, int64_t times) {
  return [=, at = int64_t(0)](const std::string& what) mutable {
    if (what != network) return;
    const int64_t now = at++;
    TORCH_CHECK_WITH(OutOfMemoryError, now < from || now >= from + times, "full");
  };
}

}  // namespace wan
