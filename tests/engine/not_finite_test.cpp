// Weights that are NaN: a render that meets them names the file and the tensor.
#include "engine/residency/not_finite.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/request/parse.h"
#include "models/files/error.h"
#include "models/weights/format/format.h"
#include "tests/layouts.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

struct BrokenWeights : testing::Test {
  BrokenWeights() { fs::copy(layouts::kNano, model, fs::copy_options::recursive); }

  /// Makes the first values of a tensor NaN, in whatever float type they are.
  void damage(const std::string& file, const std::string& tensor) const {
    const uint64_t offset = read_tensors(MappedFile::open(model / file)).at(tensor).offset;
    std::fstream bytes(model / file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(std::streamoff(offset)) << "\xff\xff\xff\x7f";
  }
  std::string refusal(const std::vector<Network>& networks) const {
    try {
      check_weights_finite(parts_of(model, Task::T2V), networks, silent);
    } catch (const ModelError& error) {
      return error.what();
    }
    return "all are finite";
  }
  /// What a render of few steps ends in: "ModelError" or "NotFinite", and the text.
  std::string end_of_render() const {
    const Request request = parse({{"task", "t2v"},
                                   {"model", model.string()},
                                   {"prompt", "a red square"},
                                   {"unlocked", true},
                                   {"width", 32},
                                   {"height", 32},
                                   {"num_frames", 5},
                                   {"num_inference_steps", 4},
                                   {"device", "cpu"},
                                   {"seed", 3},
                                   {"out", (folder / "out.mp4").string()}},
                                  {});
    c10::InferenceMode inference;
    try {
      const Log log{[this](std::string_view event, const Log::Fields& fields) {
        if (event == "kept") finish_with = fields.value("finish_with", "");
      }};
      render(request, {}, log, silent);
    } catch (const ModelError& error) {
      return std::string("ModelError ") + error.what();
    } catch (const NotFinite& error) {
      return std::string("NotFinite ") + error.what();
    }
    return "a video";
  }

  TemporaryFolder folder;
  const fs::path model = folder / "m";
  mutable Silent silent;
  mutable std::string finish_with;  // what the last render's log says
};

const std::string kShard = "low_noise_model/diffusion_pytorch_model-00002-of-00002.safetensors";

}  // namespace

TEST_F(BrokenWeights, AreFoundInTheNetworksThatAreAskedFor) {
  const std::vector<Network> all = networks_of(Task::T2V);
  EXPECT_EQ(refusal(all), "all are finite");
  damage("Wan2.1_VAE.pth", "decoder.head.2.bias");
  EXPECT_EQ(refusal({Network::HighNoise, Network::LowNoise, Network::TextEncoder}), "all are finite");
  EXPECT_NE(refusal(all).find("Wan2.1_VAE.pth: decoder.head.2.bias] must hold finite numbers"), std::string::npos)
      << refusal(all);
  Steps stopped(Stage::Load);
  EXPECT_THROW(check_weights_finite(parts_of(model, Task::T2V), all, stopped), Cancelled);
}

TEST_F(BrokenWeights, OfEveryNetworkEndARenderWithTheirName) {
  const std::string tensor = read_tensors(MappedFile::open(model / kShard)).begin()->first;
  damage(kShard, tensor);
  const std::string low = end_of_render();
  EXPECT_TRUE(low.starts_with("ModelError ")) << low;
  EXPECT_NE(low.find(tensor + "] must hold finite numbers, holds some that are not"), std::string::npos) << low;
  EXPECT_EQ(finish_with, "the same command, once the file is replaced");
  damage("models_t5_umt5-xxl-enc-bf16.pth", "norm.weight");
  const std::string text = end_of_render();
  EXPECT_TRUE(text.starts_with("ModelError ")) << text;
  EXPECT_NE(text.find("norm.weight] must hold finite numbers"), std::string::npos) << text;
}

}  // namespace wan
