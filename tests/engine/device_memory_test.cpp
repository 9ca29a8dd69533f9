// --device-memory on the CPU, which then stands for a card: whatever the limit, a video has the same bytes.
#include "engine/frames/vae_clip.h"
#include "engine/request/params.h"
#include "engine/residency/fit.h"
#include "engine/residency/tile_needs.h"
#include "engine/residency/vae_way.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

TEST_F(DeviceMemory, TextToVideoHasTheSameBytes) {
  expect_the_same_bytes(request(Task::T2V, kNano), "high-noise expert");
}
TEST_F(DeviceMemory, ImageToVideoHasTheSameBytes) {
  expect_the_same_bytes(request(Task::I2V, deeper_model()), "low-noise expert");
}
TEST_F(DeviceMemory, VideoToVideoHasTheSameBytes) {
  expect_the_same_bytes(request(Task::V2V, kNano), "low-noise expert");
}
TEST_F(DeviceMemory, SpeechHasTheSameBytes) {
  expect_the_same_bytes(
      request(Task::S2V, kCheckpoints / "Wan2.2-S2V-14B", {{"num_inference_steps", 2}, {"max_seconds", 0.3}}),
      "speech transformer");
}

/// A picture of three tiles in height, and a limit between the VAE's tiles and its whole frames.
TEST_F(DeviceMemory, AVaeWithoutRoomForWholeFramesTakesTiles) {
  const ModelParts parts = parts_of(kNano, Task::T2V);
  const Extent extent{9, 272, 48};
  at::manual_seed(5);
  const at::Tensor latents = at::randn({16, 3, extent.height / 8, extent.width / 8});
  const auto decoded = [&](const Placement& placement, const Activations& activations, int64_t& rows) {
    Networks networks(parts, placement, activations, Log{});
    ClipDecoder decoder(networks);
    std::vector<at::Tensor> frames;
    for (int64_t t = 0; t < latents.size(1); ++t) frames.push_back(decoder.next(latents.narrow(1, t, 1)));
    rows = networks.vae_tile_rows(at::kFloat);
    return at::cat(frames, 1);
  };
  int64_t rows = -1;
  const at::Tensor want = decoded(Placement{}, {}, rows);
  EXPECT_EQ(rows, 0);
  const Request wanted = request(Task::T2V, kNano);
  Placement placement = resolve_placement(limited(wanted, 1));
  const Workload work = decode_workload(parts, extent, placement);
  const uint64_t weights = work.networks.at(Network::Vae).device();
  const Demand demand = work.demand(extent);
  ASSERT_LT(demand.vae_tiles, demand.vae_shared);
  for (const uint64_t activations : {demand.vae_shared, demand.vae_shared - 1, demand.vae_tiles}) {
    placement.budget = std::make_shared<DeviceBudget>(weights + activations);
    const Fit fit = decode_fit(parts, extent, placement);
    EXPECT_NO_THROW(fit.check());
    EXPECT_TRUE(decoded(placement, fit.activations, rows).equal(want));
    EXPECT_EQ(rows, activations == demand.vae_shared ? 0 : vae::kTileRows);
    EXPECT_EQ(placement.budget->used(), 0u);
    EXPECT_EQ(placement.budget->peak(), weights + (rows == 0 ? demand.vae_shared : demand.vae_tiles));
  }
  placement.budget = std::make_shared<DeviceBudget>(weights + demand.vae_tiles - 1);
  EXPECT_THROW(decode_fit(parts, extent, placement).check(), InvalidRequest);
}

TEST_F(DeviceMemory, AJobInTilesHasTheSameBytes) {
  for (const Task task : {Task::T2V, Task::I2V}) {
    SCOPED_TRACE(task_name(task));
    const fs::path model = task == Task::I2V ? kCheckpoints / "Wan2.2-I2V-A14B" : kNano;
    const Request wanted = request(task, model, {{"width", 32}, {"height", 272}, {"num_inference_steps", 2}});
    const std::string want = rendered(wanted);
    const auto [least, all] = limits_of(wanted);
    const Workload work = workload(wanted);
    const Activations activations = activations_of(work);
    ASSERT_GT(activations.vae_tiles, 0u);
    ASSERT_LT(activations.vae_tiles, activations.vae);
    Told told, laddered;
    EXPECT_TRUE(rendered(limited(wanted, least), told) == want);
    // Two steps of the ladder: the last one takes tiles.
    EXPECT_TRUE(rendered(limited(wanted, all), laddered, full("VAE", 0, 2)) == want);
    ASSERT_EQ(laddered.memory.size(), 2u);
    EXPECT_NE(laddered.memory[1].find("the VAE computes in tiles"), std::string::npos) << laddered.memory[1];
    EXPECT_LE(laddered.phases.at("decode"), work.networks.at(Network::Vae).device() + activations.vae_tiles)
        << "and takes no more than tiles take";
  }
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
  const Request free = request(Task::T2V, kNano);
  const auto [least, all] = limits_of(free);
  for (const uint64_t limit : {least, least + (all - least) / 4, all}) {
    SCOPED_TRACE(limit);
    const Request wanted = limited(free, limit);
    Told first, second;
    EXPECT_TRUE(rendered(wanted, first) == rendered(wanted, second));
    EXPECT_EQ(first.device.at("peak_bytes"), second.device.at("peak_bytes"));
    EXPECT_EQ(first.phases, second.phases);
    EXPECT_EQ(first.streamed, second.streamed);
  }
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

}  // namespace
}  // namespace wan
