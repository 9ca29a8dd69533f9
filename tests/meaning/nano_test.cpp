// The checkpoint of this repository shows what a prompt says: 32 clips, rendered with the defaults of `wan-infer t2v`,
// have the colours, the paths and the directions that tests/nano/expected.json lists.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "engine/job/conditioning.h"
#include "engine/job/text_states.h"
#include "engine/sampling/denoise.h"
#include "models/weights/checkpoint.h"
#include "tests/meaning/measure.h"
#include "tests/parts.h"
#include "tests/support.h"
#include "tests/support/job.h"
#include "tools/cli/command_line.h"

namespace wan {
namespace {

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano";

/// What the command line makes of a prompt: every setting that is not named here is the program's default.
Request request_of(const nlohmann::json& clip, const nlohmann::json& settings, const std::string& dtype,
                   const std::string& precision) {
  const std::vector<std::string> words = {"wan-infer",      "t2v",
                                          "--model",        kNano / "Wan2.2-T2V-A14B-nano",
                                          "--prompt",       clip["prompt"],
                                          "--seed",         std::to_string(clip["seed"].get<int64_t>()),
                                          "--width",        std::to_string(settings["size"][0].get<int64_t>()),
                                          "--height",       std::to_string(settings["size"][1].get<int64_t>()),
                                          "--num-frames",   std::to_string(settings["frames"].get<int64_t>()),
                                          "--device",       "cpu",
                                          "--noise-device", "cpu",
                                          "--dtype",        dtype,
                                          "--precision",    precision};
  std::vector<const char*> arguments;
  for (const std::string& word : words) arguments.push_back(word.c_str());
  return parse_command_line(int(arguments.size()), arguments.data()).request;
}

/// Renders clips one after the other with one set of networks.
class Renderer {
 public:
  explicit Renderer(const std::string& dtype, const std::string& precision = "exact")
      : expected_(nlohmann::json::parse(std::ifstream(kNano / "expected.json"))),
        golden_(Checkpoint::open(kNano / "golden.safetensors")),
        dtype_(dtype),
        precision_(precision),
        first_(request_of(expected_["clips"][0], expected_["settings"], dtype, precision)),
        models_(parts_of(first_.model, first_.task), resolve_placement(first_), 0, Log{}),
        text_(models_) {}

  const nlohmann::json& expected() const { return expected_; }
  size_t count() const { return expected_["clips"].size(); }

  struct Clip {
    at::Tensor latent, video;  // [16, T, h, w], [3, F, H, W]
  };
  Clip render(size_t i) {
    Request request = request_of(expected_["clips"][i], expected_["settings"], dtype_, precision_);
    const Schedule schedule = make_schedule(request);
    Encoded encoded;
    encoded.conditioning = {.positive = text_(request.prompt), .negative = text_(request.negative_prompt), .image = {}};
    Sampling state = begin_sampling(
        schedule, first_sample(request, asked_geometry(request), schedule, encoded, models_.placement()));
    Guidance guidance(models_, encoded.conditioning);
    denoise(state, schedule, schedule.size(), std::ref(guidance), quiet_);
    return {state.x, vae::decode(models_.vae().decoder, state.x)};
  }

  /// A tensor of golden.safetensors, undefined where clip i is not one of the stored ones.
  at::Tensor golden(size_t i, const std::string& what) const {
    const std::string name = "clip" + std::to_string(i) + "." + what;
    return golden_.tensors().count(name) ? golden_.map(name) : at::Tensor();
  }

 private:
  nlohmann::json expected_;
  Checkpoint golden_;
  std::string dtype_, precision_;
  Request first_;
  Networks models_;
  TextStates text_;
  QuietRun quiet_;
};

at::Tensor tensor_of(const nlohmann::json& numbers) {
  if (!numbers.front().is_array()) return at::tensor(numbers.get<std::vector<double>>());
  std::vector<at::Tensor> rows;
  for (const nlohmann::json& row : numbers) rows.push_back(tensor_of(row));
  return at::stack(rows);
}

void expect_meaning(const Measured& got, const nlohmann::json& want, const nlohmann::json& tolerance) {
  EXPECT_EQ(got.direction, want["direction"].is_null() ? "" : want["direction"]);
  EXPECT_TRUE(is_close(got.centres, tensor_of(want["centroids"]), tolerance["centroid_px"])) << "centre path";
  EXPECT_TRUE(is_close(got.object, tensor_of(want["object_rgb"]), tolerance["object_rgb"])) << "object";
  EXPECT_TRUE(is_close(got.background, tensor_of(want["background_rgb"]), tolerance["background_rgb"])) << "background";
  EXPECT_TRUE(is_close(got.frame_means, tensor_of(want["frame_mean_rgb"]), tolerance["frame_mean_rgb"])) << "frames";
}

TEST(Meaning, ClipsShowWhatTheirPromptsSay) {
  Renderer renderer("float32");
  const nlohmann::json& tolerance = renderer.expected()["tolerance_float32"];
  for (size_t i = 0; i < renderer.count(); ++i) {
    const nlohmann::json& clip = renderer.expected()["clips"][i];
    SCOPED_TRACE("clip " + std::to_string(i) + ": " + clip["prompt"].get<std::string>());
    Renderer::Clip got = renderer.render(i);
    expect_meaning(measure(got.video), clip["measured"], tolerance);
    if (!renderer.golden(i, "latent").defined()) continue;
    const double frame = tolerance["golden_frame_max_abs"];
    EXPECT_TRUE(is_close(got.latent, renderer.golden(i, "latent"), tolerance["golden_latent_max_abs"]));
    EXPECT_TRUE(is_close(got.video.select(1, 0), renderer.golden(i, "frame_first"), frame));
    EXPECT_TRUE(is_close(got.video.select(1, -1), renderer.golden(i, "frame_last"), frame));
  }
}

TEST(Meaning, ClipsInBf16ShowTheSame) {
  Renderer renderer("bf16");
  const nlohmann::json& tolerance = renderer.expected()["tolerance_bf16"];
  for (size_t i = 0; i < 3; ++i) {
    const nlohmann::json& clip = renderer.expected()["clips"][i];
    SCOPED_TRACE("clip " + std::to_string(i) + ": " + clip["prompt"].get<std::string>());
    Renderer::Clip got = renderer.render(i);
    expect_meaning(measure(got.video), clip["measured"], tolerance);
    if (!renderer.golden(i, "latent").defined()) continue;
    EXPECT_LE(relative_rms(got.latent, renderer.golden(i, "latent")), tolerance["golden_latent_rel_rms"]);
    for (auto [frame, name] : {std::pair{0, "frame_first"}, std::pair{-1, "frame_last"}}) {
      at::Tensor difference = got.video.select(1, frame) - renderer.golden(i, name);
      EXPECT_LE(difference.square().mean().sqrt().item<double>(), tolerance["golden_frame_rms"]) << name;
    }
  }
}

/// Of two videos in -1..1, in dB.
double psnr(const at::Tensor& got, const at::Tensor& want) {
  return 10 * std::log10(4 / (got - want).square().mean().item<double>());
}

TEST(Meaning, ClipsInEightBitsShowTheSame) {
  // What stands in for the kernels on the CPU: the same codes, the same integers. Measured over 27 steps: balanced 2.5
  // % to 4.0 % of the latent and 52.4 dB to 55.7 dB, fast 2.6 % to 4.5 % and 51.1 dB to 54.7 dB.
  for (auto [precision, most, least] : {std::tuple{"balanced", 0.06, 48.0}, {"fast", 0.07, 40.0}}) {
    Renderer exact("float32"), renderer("float32", precision);
    const nlohmann::json& tolerance = renderer.expected()["tolerance_bf16"];
    for (size_t i = 0; i < 3; ++i) {
      const nlohmann::json& clip = renderer.expected()["clips"][i];
      SCOPED_TRACE(precision + (" clip " + std::to_string(i)) + ": " + clip["prompt"].get<std::string>());
      Renderer::Clip got = renderer.render(i), want = exact.render(i);
      const double error = relative_rms(got.latent, want.latent), decibels = psnr(got.video, want.video);
      EXPECT_LE(error, most);
      EXPECT_GT(error, 1e-2) << "nothing is quantised";
      EXPECT_GE(decibels, least) << "dB";
      expect_meaning(measure(got.video), clip["measured"], tolerance);
    }
  }
}

}  // namespace
}  // namespace wan
