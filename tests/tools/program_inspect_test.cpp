// wan-infer inspect, as its users run it: what it costs, and that it says what the engine says.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/weights/format/safetensors.h"
#include "tests/layouts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

TEST(ProgramInspect, StartsWithoutLibtorch) {
  const TemporaryFolder folder;
  write_sparse_t2v_folder(folder / "m");
  const Outcome all = Process("wan-infer", {"inspect", "m", "--json"}, folder.path()).finish();
  EXPECT_EQ(all.code, 0) << all.err;
  // What the loader would bring in. (The peak of a child's memory counts that of the test before exec.)
  const std::string command = "LD_TRACE_LOADED_OBJECTS=1 '" WAN_BINARY_DIR "/tools/wan-inspect'";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string libraries(1 << 16, '\0');
  libraries.resize(std::fread(libraries.data(), 1, libraries.size(), pipe));
  pclose(pipe);
  EXPECT_NE(libraries.find("libc10"), std::string::npos) << libraries;
  EXPECT_EQ(libraries.find("libtorch"), std::string::npos) << libraries;
  EXPECT_TRUE(all.out == Process("wan-engine", {"inspect", "m", "--json"}, folder.path()).finish().out);
}

TEST(ProgramInspect, TellsWhatALoraIsFor) {
  const TemporaryFolder folder;
  std::map<std::string, at::Tensor> tensors;
  for (const char* module : {"blocks.0.self_attn.q", "blocks.1.self_attn.q"}) {
    const std::string name = std::string("diffusion_model.") + module;
    tensors[name + ".lora_down.weight"] = at::zeros({64, 5120}, at::kHalf);
    tensors[name + ".lora_up.weight"] = at::zeros({5120, 64}, at::kHalf);
    tensors[name + ".alpha"] = at::tensor(8, at::kLong);
  }
  tensors["diffusion_model.blocks.0.cross_attn.k_img.diff"] = at::zeros({1});
  tensors["diffusion_model.blocks.0.extra.diff"] = at::zeros({1});
  write_safetensors(folder / "wan_high_4steps.safetensors", tensors);
  const Outcome text = Process("wan-infer", {"inspect", "wan_high_4steps.safetensors"}, folder.path()).finish();
  EXPECT_EQ(text.code, 0) << text.err;
  for (const char* line : {": LoRA, 1 file, 8 tensors", "  for Wan 14B transformer (2.2 A14B, 2.1 14B)\n",
                           "  official names, 2 differences: LoRA\n", "  rank 64, alpha 8: scale 0.125\n",
                           "  for the high-noise expert, by its name\n", "--preset lightning4",
                           "  1 key left out: image tokens of Wan 2.1",
                           "  1 key that it has no place for: diffusion_model.blocks.0.extra.diff"})
    EXPECT_NE(text.out.find(line), std::string::npos) << line << "\n" << text.out;
  const Outcome data =
      Process("wan-infer", {"inspect", "wan_high_4steps.safetensors", "--json"}, folder.path()).finish();
  const nlohmann::json lora = nlohmann::json::parse(data.out).at("networks").at(0).at("lora");
  EXPECT_EQ(lora.at("expert"), "high");
  EXPECT_EQ(lora.at("distilled"), true);
  EXPECT_EQ(lora.at("ranks"), nlohmann::json::parse(R"([{"rank": 64, "count": 2}])"));
  EXPECT_EQ(lora.at("distilled_steps"), 4);
  EXPECT_EQ(lora.at("unknown").size(), 1u);

  write_safetensors(folder / "one_high.safetensors", {{"blocks.0.self_attn.q.lora_down.weight", at::zeros({2, 5120})},
                                                      {"blocks.0.self_attn.q.lora_up.weight", at::zeros({5120, 2})}});
  const Outcome one = Process("wan-infer", {"inspect", "one_high.safetensors"}, folder.path()).finish();
  EXPECT_NE(one.out.find("names, 1 difference: "), std::string::npos) << one.out;

  fs::copy(folder / "wan_high_4steps.safetensors", folder / "wan_high_8steps.safetensors");
  const Outcome eight = Process("wan-infer", {"inspect", "wan_high_8steps.safetensors"}, folder.path()).finish();
  EXPECT_NE(eight.out.find("  distilled to 8 steps: --num-inference-steps 8 --guidance-scale 1 "), std::string::npos)
      << eight.out;
  EXPECT_EQ(eight.out.find("lightning4"), std::string::npos) << eight.out;

  write_safetensors(folder / "flux.safetensors",
                    {{"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", at::zeros({2, 4})},
                     {"transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight", at::zeros({4, 2})}});
  const Outcome other = Process("wan-infer", {"inspect", "flux.safetensors"}, folder.path()).finish();
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_NE(other.out.find("for a network of another family (Flux), which this program does not run"),
            std::string::npos)
      << other.out;

  write_safetensors(folder / "style.safetensors",
                    {{"transformer_2.blocks.0.attn1.to_q.lora_A.weight", at::zeros({4, 5120})},
                     {"transformer_2.blocks.0.attn1.to_q.lora_B.weight", at::zeros({5120, 4})}});
  const Outcome low = Process("wan-infer", {"inspect", "style.safetensors"}, folder.path()).finish();
  EXPECT_NE(low.out.find("  for the low-noise expert, by its keys\n"), std::string::npos) << low.out;
  EXPECT_EQ(other.out.find("@both"), std::string::npos) << "no expert takes it: " << other.out;

  write_safetensors(folder / "text.safetensors",
                    {{"lora_te_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight", at::zeros({2, 4})},
                     {"lora_te_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight", at::zeros({4, 2})}});
  const Outcome words = Process("wan-infer", {"inspect", "text.safetensors"}, folder.path()).finish();
  EXPECT_NE(
      words.out.find("  for a text encoder, whose LoRAs are not used with Wan 2.2; leave this one out, or take one of "
                     "the transformer\n"),
      std::string::npos)
      << words.out;
}

TEST(ProgramInspect, FailsAsTheEngineDoes) {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"inspect", "absent"}, {"inspect", "."}, {"inspect", "a", "--wrong"}}) {
    const Outcome one = Process("wan-infer", words, folder.path()).finish();
    const Outcome other = Process("wan-engine", words, folder.path()).finish();
    EXPECT_EQ(one.code, other.code);
    EXPECT_NE(one.code, 0);
    EXPECT_EQ(one.err, other.err);
  }
}

}  // namespace
}  // namespace wan
