// --device-memory on the CPU, which then stands for a card: whatever the limit, a video has the same bytes.
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

}  // namespace
}  // namespace wan
