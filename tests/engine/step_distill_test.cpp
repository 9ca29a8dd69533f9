// Whole jobs whose solver adds fresh noise in each step, and with LoRAs whose scale changes: stopped behind each step and
// gone on with.
#include "engine/request/params.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

class StepDistill : public DeviceMemory {
 protected:
  /// A LoRA of the feed-forward of both experts.
  std::string write_lora(const std::string& name) const {
    at::manual_seed(4);
    std::map<std::string, at::Tensor> tensors;
    const Checkpoint expert = Checkpoint::open(kNano / "high_noise_model");
    for (const auto& [tensor, stored] : expert.tensors()) {
      if (!tensor.ends_with(".ffn.0.weight")) continue;
      const std::string module = "diffusion_model." + tensor.substr(0, tensor.rfind('.'));
      tensors[module + ".lora_down.weight"] = at::randn({2, stored.shape[1]}) / 16;
      tensors[module + ".lora_up.weight"] = at::randn({stored.shape[0], 2}) / 4;
      tensors[module + ".dora_scale"] = expert.map(tensor).to(at::kFloat).norm(2, {1}, true);
    }
    write_safetensors(folder_ / name, tensors);
    return (folder_ / name).string();
  }
  /// Without metadata, which name solver and LoRAs: videos differ by their frames alone.
  Request with(const std::string& solver, const std::vector<Lora>& loras = {}) const {
    return request(Task::T2V, kNano,
                   {{"solver", solver}, {"guidance_scale", 1}, {"loras", loras}, {"metadata", "none"}});
  }
  /// Of a run that stops behind `steps` steps.
  void stopped(const Request& request, int64_t steps) {
    Told told;
    Steps some(steps);
    EXPECT_THROW(rendered(request, told, {}, &some), Cancelled);
  }
  /// The one line that a run ends in.
  std::string refusal(const Request& request) {
    try {
      rendered(request);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(StepDistill, AJobThatWasStoppedBehindAnyStepGivesTheSameBytes) {
  const Request wanted = with("step_distill");
  Told told;
  Steps all;
  const std::string want = rendered(wanted, told, {}, &all);
  EXPECT_FALSE(want == rendered(with("euler")));
  for (int64_t steps = 1; steps < 4; ++steps) {
    SCOPED_TRACE(steps);
    stopped(wanted, steps);
    Steps rest;
    EXPECT_TRUE(rendered(wanted, told, {}, &rest) == want);
    EXPECT_EQ(rest.made, all.made - steps) << "goes on instead of beginning anew";
  }
}

TEST_F(StepDistill, WithALoraWhoseScaleChangesToo) {
  const std::string path = write_lora("a.safetensors");
  const Request wanted = with("step_distill", {{path, {1, 0.5}, "both"}});
  const std::string want = rendered(wanted);
  EXPECT_FALSE(want == rendered(with("step_distill", {{path, {1}, "both"}}))) << "the second scale counts";
  for (int64_t steps = 1; steps < 4; ++steps) {
    SCOPED_TRACE(steps);
    stopped(wanted, steps);
    EXPECT_TRUE(rendered(wanted) == want);
  }
}

TEST_F(StepDistill, ALoraThatIsAbsentWhereAJobGoesOnIsNamed) {
  const std::string path = write_lora("a.safetensors");
  const Request wanted = with("step_distill", {{path, {1}, "both"}});
  const std::string want = rendered(wanted);
  stopped(wanted, 2);
  fs::rename(path, folder_ / "away.safetensors");
  const std::string line = refusal(wanted);
  EXPECT_NE(line.find("a.safetensors"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  fs::rename(folder_ / "away.safetensors", path);
  Told told;
  Steps rest;
  EXPECT_TRUE(rendered(wanted, told, {}, &rest) == want);
  EXPECT_LT(rest.made, 4) << "what was made is still there";
}

}  // namespace
}  // namespace wan
