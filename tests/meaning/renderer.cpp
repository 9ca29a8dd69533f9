#include "tests/meaning/renderer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>

#include "engine/job/conditioning.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/model_reuse.h"
#include "engine/sampling/denoise.h"
#include "engine/sampling/guidance.h"
#include "tests/support.h"
#include "tools/cli/command_line.h"

namespace wan {
namespace {

at::Tensor tensor_of(const nlohmann::json& numbers) {
  if (!numbers.front().is_array()) return at::tensor(numbers.get<std::vector<double>>());
  std::vector<at::Tensor> rows;
  for (const nlohmann::json& row : numbers) rows.push_back(tensor_of(row));
  return at::stack(rows);
}

}  // namespace

nlohmann::json nano_expected() {
  return nlohmann::json::parse(std::ifstream(kNanoTests / "expected.json"));
}

Renderer::Renderer(const std::string& dtype, const std::string& precision, const std::vector<std::string>& model,
                   const std::vector<std::string>& flags)
    : expected_(nano_expected()),
      golden_(Checkpoint::open(kNanoTests / "golden.safetensors")),
      dtype_(dtype),
      precision_(precision),
      model_(model),
      flags_(flags),
      first_(request_of("", 0, {})),
      models_(find_parts(first_), resolve_placement(first_), 0, Log{}),
      text_(models_),
      reuse_(step_reuse(first_, models_.parts())) {}

/// What the command line makes of a clip.
Request Renderer::request_of(const std::string& prompt, size_t i, const std::vector<std::string>& loras) const {
  const nlohmann::json &clip = expected_["clips"][i], &settings = expected_["settings"];
  std::vector<std::string> words = {"wan-infer",      "t2v",
                                    "--prompt",       prompt,
                                    "--seed",         std::to_string(clip["seed"].get<int64_t>()),
                                    "--width",        std::to_string(settings["size"][0].get<int64_t>()),
                                    "--height",       std::to_string(settings["size"][1].get<int64_t>()),
                                    "--num-frames",   std::to_string(settings["frames"].get<int64_t>()),
                                    "--device",       "cpu",
                                    "--noise-device", "cpu",
                                    "--dtype",        dtype_,
                                    "--precision",    precision_};
  words.insert(words.end(), model_.begin(), model_.end());
  words.insert(words.end(), flags_.begin(), flags_.end());
  for (const std::string& lora : loras) words.insert(words.end(), {"--lora", lora});
  std::vector<const char*> arguments;
  for (const std::string& word : words) arguments.push_back(word.c_str());
  return parse_command_line(int(arguments.size()), arguments.data()).request;
}

Clip Renderer::render(size_t i, const std::vector<std::string>& loras) {
  return render(expected_["clips"][i]["prompt"].get<std::string>(), i, loras);
}

Clip Renderer::render(const std::string& prompt, size_t i, const std::vector<std::string>& words) {
  Request request = request_of(prompt, i, words);
  const Schedule schedule = make_schedule(request);
  Encoded encoded;
  encoded.conditioning = {.positive = text_(request.prompt), .negative = text_(request.negative_prompt), .image = {}};
  Sampling state =
      begin_sampling(schedule, first_sample(request, asked_geometry(request), schedule, encoded, models_.placement()));
  const Loras loras(request, models_.parts());
  StepCache cache(reuse_, models_.placement().dtype, Log{});
  Skipping skipping;
  Guidance guidance(models_, encoded.conditioning,
                    {.adapters = loras.in_steps(request), .skipping = &skipping, .cache = &cache});
  denoise(state, schedule, schedule.size(), std::ref(guidance), quiet_);
  return {state.x, vae::decode(models_.vae().decoder, state.x)};
}

at::Tensor Renderer::golden(size_t i, const std::string& what) const {
  const std::string name = "clip" + std::to_string(i) + "." + what;
  return golden_.tensors().count(name) ? golden_.map(name) : at::Tensor();
}

namespace {

using Colours = std::vector<std::pair<const char*, std::array<double, 3>>>;

// Source: toy_world.py of the nano checkpoint's training.
const Colours kObjects = {{"red", {0.90, 0.12, 0.12}},    {"green", {0.12, 0.80, 0.20}},
                          {"blue", {0.20, 0.35, 1.00}},   {"yellow", {0.95, 0.88, 0.12}},
                          {"purple", {0.65, 0.20, 0.85}}, {"white", {0.96, 0.96, 0.96}}};
const Colours kBackgrounds = {{"black", {0.02, 0.02, 0.02}},
                              {"gray", {0.45, 0.45, 0.45}},
                              {"navy", {0.05, 0.07, 0.30}},
                              {"brown", {0.36, 0.22, 0.10}}};

std::string nearest(const at::Tensor& rgb, const Colours& table) {
  const auto distance = [&](const auto& colour) {
    double sum = 0;
    for (int64_t i = 0; i < 3; ++i) sum += std::pow(rgb[i].item<double>() - colour.second[size_t(i)], 2);
    return sum;
  };
  return std::ranges::min_element(table, {}, distance)->first;
}

std::string verdict_of(const std::string& colour, const std::string& shape, const std::string& direction,
                       const std::string& background) {
  return colour + " " + shape + " " + (direction.empty() ? "still" : direction) + " " + background;
}

}  // namespace

std::string verdict(const Measured& got) {
  return verdict_of(nearest(got.object, kObjects), got.shape, got.direction, nearest(got.background, kBackgrounds));
}

std::string verdict(const nlohmann::json& want) {
  return verdict_of(want["colour"], want["shape"],
                    want["direction"].is_null() ? "" : want["direction"].get<std::string>(), want["background"]);
}

void expect_meaning(const Measured& got, const nlohmann::json& want, const nlohmann::json& tolerance) {
  EXPECT_EQ(got.direction, want["direction"].is_null() ? "" : want["direction"]);
  EXPECT_EQ(got.shape, want["shape"]);
  EXPECT_TRUE(is_close(got.centres, tensor_of(want["centroids"]), tolerance["centroid_px"])) << "centre path";
  EXPECT_TRUE(is_close(got.object, tensor_of(want["object_rgb"]), tolerance["object_rgb"])) << "object";
  EXPECT_TRUE(is_close(got.background, tensor_of(want["background_rgb"]), tolerance["background_rgb"])) << "background";
  EXPECT_TRUE(is_close(got.frame_means, tensor_of(want["frame_mean_rgb"]), tolerance["frame_mean_rgb"])) << "frames";
}

}  // namespace wan
