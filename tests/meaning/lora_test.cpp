// A LoRA changes what a clip shows, and half of it changes less, whatever the experts' weights lie in. It is made from the
// checkpoint: beside the keys and values of the text it maps the rows of one prompt to those of another.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "models/weights/format/safetensors.h"
#include "tests/meaning/forms.h"
#include "tests/meaning/renderer.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr size_t kClip = 2;
const std::string kYellow = "on a gray background, a yellow circle moves to the right",
                  kBlue = "on a gray background, a blue circle moves to the right",
                  kRed = "on a gray background, a red circle moves to the right";

/// Rows of a prompt as the blocks of an expert see them: of its words and of the padding, float64 [n + 1, dim].
at::Tensor rows_of(Renderer& renderer, bool high, const std::string& prompt) {
  const at::Tensor states = renderer.text()(prompt).clone();
  const WanModel& expert = renderer.networks().expert(high);
  return expert.context(states).text[0].narrow(0, 0, states.size(0) + 1).to(at::kDouble);
}

/// Writes a LoRA of an expert with which `from` is seen as `to`, and an empty prompt as itself: on each row the factor
/// `down` is 1 at one rank and 0 at the others.
void write_swap(Renderer& renderer, bool high, const std::string& from, const std::string& to, const fs::path& file) {
  const at::Tensor has = rows_of(renderer, high, from);
  at::Tensor wants = rows_of(renderer, high, to);
  ASSERT_LE(wants.size(0), has.size(0)) << "a shorter prompt is padded";
  wants = at::cat({wants, wants.narrow(0, -1, 1).expand({has.size(0) - wants.size(0), -1})});
  const at::Tensor kept = rows_of(renderer, high, "");
  const at::Tensor rows = at::cat({has, kept.narrow(0, 0, kept.size(0) - 1)});
  const at::Tensor change = at::cat({wants - has, at::zeros_like(kept.narrow(0, 0, kept.size(0) - 1))});
  const at::Tensor down = at::linalg_pinv(rows.t());
  const Checkpoint expert = Checkpoint::open(kNanoModel / (high ? "high_noise_model" : "low_noise_model"));
  std::map<std::string, at::Tensor> tensors;
  for (const auto& entry : expert.tensors()) {
    const std::string& name = entry.first;
    if (!name.ends_with("cross_attn.k.weight") && !name.ends_with("cross_attn.v.weight")) continue;
    const std::string module = "diffusion_model." + name.substr(0, name.rfind('.'));
    tensors[module + ".lora_down.weight"] = down.to(at::kFloat).contiguous();
    tensors[module + ".lora_up.weight"] =
        expert.map(name).to(at::kDouble).matmul(change.t()).mul(2).to(at::kFloat).contiguous();
    tensors[module + ".alpha"] = at::tensor(double(down.size(0)) / 2);
  }
  write_safetensors(file, tensors);
}

class LoraMeaning : public testing::Test {
 protected:
  LoraMeaning() {
    Renderer renderer("float32");
    for (const bool high : {true, false}) {
      write_swap(renderer, high, kYellow, kBlue, folder / (high ? "blue_high.safetensors" : "blue_low.safetensors"));
      write_swap(renderer, high, kYellow, kRed, folder / (high ? "red_high.safetensors" : "red_low.safetensors"));
    }
  }
  Words pair(const std::string& name, const std::string& scale = "") const {
    const std::string colon = scale.empty() ? "" : ":";
    return {(folder / (name + "_high.safetensors")).string() + colon + scale,
            (folder / (name + "_low.safetensors")).string() + colon + scale};
  }
  at::Tensor colour(Renderer& renderer, const Words& loras) {
    return measure(renderer.render(kClip, loras).video).object;
  }

  /// At 1 the clip is that of the blue prompt; at 0.5 it is less of it.
  void expect_blue(Renderer& renderer, double tolerance) {
    ASSERT_EQ(renderer.expected()["clips"][kClip]["prompt"], kYellow);
    const Measured blue = measure(renderer.render(kBlue, kClip).video);
    const at::Tensor yellow = colour(renderer, {}), whole = colour(renderer, pair("blue")),
                     half = colour(renderer, pair("blue", "0.5"));
    const auto distance = [&](const at::Tensor& a) { return (a - yellow).norm().item<double>(); };
    EXPECT_GT(distance(blue.object), 0.8);
    EXPECT_TRUE(is_close(whole, blue.object, tolerance)) << whole << blue.object;
    EXPECT_LT(distance(half), distance(whole) - 0.1) << half;
    EXPECT_GT(distance(half), 0.02) << half;
  }

  TemporaryFolder folder;
};

TEST_F(LoraMeaning, OnFloatsItChangesTheColour) {
  Renderer renderer("float32");
  expect_blue(renderer, 0.02);
}
TEST_F(LoraMeaning, InBf16ItChangesTheColour) {
  Renderer renderer("bf16");
  expect_blue(renderer, 0.05);
}

TEST_F(LoraMeaning, OnCodesItChangesTheColour) {
  for (const auto& [write, ending, precision] : {std::tuple(&forms::old_fp8, "fp8_scaled.safetensors", "exact"),
                                                 {&forms::int8, "int8_convrot.safetensors", "exact"},
                                                 {&forms::int8, "int8_convrot.safetensors", "balanced"},
                                                 {&forms::q8_0, "Q8_0.gguf", "exact"}}) {
    SCOPED_TRACE(ending + std::string(" ") + precision);
    const fs::path high = folder / (std::string("wan_high_noise_") + ending);
    const fs::path low = folder / (std::string("wan_low_noise_") + ending);
    if (!fs::exists(high)) {
      write(kNanoModel / "high_noise_model", high);
      write(kNanoModel / "low_noise_model", low);
    }
    Renderer renderer("float32", precision,
                      {"--model", kNanoModel.string(), "--high-noise", high.string(), "--low-noise", low.string()});
    expect_blue(renderer, 0.1);
  }
}

TEST_F(LoraMeaning, AReturnToTheFirstGivesItsBytes) {
  Renderer renderer("float32");
  const at::Tensor plain = renderer.render(kClip).latent;
  const at::Tensor blue = renderer.render(kClip, pair("blue")).latent;
  const at::Tensor red = renderer.render(kClip, pair("red")).latent;
  EXPECT_FALSE(red.equal(blue));
  EXPECT_TRUE(renderer.render(kClip, pair("blue")).latent.equal(blue));
  EXPECT_TRUE(renderer.render(kClip).latent.equal(plain));
  EXPECT_TRUE(renderer.render(kClip, pair("blue", "0")).latent.equal(plain));
}

TEST_F(LoraMeaning, TheOrderOfFilesChangesRoundingAlone) {
  Renderer renderer("float32");
  Words one = pair("blue", "0.5"), other = pair("red", "0.25");
  one.insert(one.end(), other.begin(), other.end());
  const at::Tensor first = renderer.render(kClip, one).latent;
  std::reverse(one.begin(), one.end());
  EXPECT_LE(relative_rms(renderer.render(kClip, one).latent, first), 1e-3);
}

TEST_F(LoraMeaning, ScalesOfPartsOfTheStepsAreThoseOfThem) {
  Renderer renderer("float32");
  const Words high = {pair("blue")[0]}, low = {pair("blue")[1]};
  const at::Tensor both = renderer.render(kClip, pair("blue")).latent;
  EXPECT_TRUE(renderer.render(kClip, pair("blue", "1,1,1")).latent.equal(both));
  EXPECT_TRUE(
      renderer.render(kClip, {high[0] + ":1", low[0] + ":0,0"}).latent.equal(renderer.render(kClip, high).latent));
  EXPECT_FALSE(renderer.render(kClip, pair("blue", "0,1")).latent.equal(both));
}

}  // namespace
}  // namespace wan
