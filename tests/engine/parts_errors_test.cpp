// What is said where the parts of a model are not there, are several, or are others.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "engine/residency/model_check.h"
#include "engine/residency/noise_level.h"
#include "models/files/error.h"
#include "tests/layouts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/parts_refusal.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace layouts;

const std::string kHigh = "wan2.2_t2v_high_noise_14B_fp16.safetensors";

TEST(PartsErrors, SeveralCandidatesAreNamedWithTheFlagThatChooses) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  write_single(folder / "models/diffusion_models/T2V-HIGH.safetensors", kNano / "high_noise_model");
  Request asked = request(Task::T2V, folder / "models");
  expect_refused(asked, {"[models] must hold one high-noise expert, holds diffusion_models/T2V-HIGH.safetensors and "
                         "diffusion_models/wan/" +
                         kHigh + "; --high-noise FILE chooses"});
  asked.high_noise = folder / "models/diffusion_models/T2V-HIGH.safetensors";
  EXPECT_EQ(refusal(asked), "accepted");
}

TEST(PartsErrors, WhatIsAbsentIsListedWithWhatIsThere) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  fs::remove(folder / "models/diffusion_models/wan" / kHigh);
  fs::remove(folder / "models/vae/wan_2.1_vae.safetensors");
  expect_refused(
      request(Task::T2V, folder / "models"),
      {"[models] lacks the high-noise expert (high_noise_model or a file of any name) and the VAE "
       "(Wan2.1_VAE.pth or a file of any name)",
       "wan2.1_t2v_14B_fp16.safetensors (text-to-video transformer whose name says neither high nor low noise)",
       "looked in diffusion_models", "--high-noise FILE and --vae FILE name them"});
}

TEST(PartsErrors, ANameThatSaysBothExpertsIsToldAsThat) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  fs::rename(folder / "models/diffusion_models/wan" / kHigh,
             folder / "models/diffusion_models/HIGH_to_low.safetensors");
  expect_refused(request(Task::T2V, folder / "models"),
                 {"[models] lacks the high-noise expert",
                  "HIGH_to_low.safetensors (text-to-video transformer whose name says both high and low noise)"});
}

TEST(PartsErrors, AnEmptyFolderLacksEverything) {
  const TemporaryFolder folder;
  expect_refused(request(Task::S2V, folder.path()),
                 {"lacks the text encoder (models_t5_umt5-xxl-enc-bf16.pth or a file of any name), the audio encoder "
                  "(wav2vec2-large-xlsr-53-english or a file of any name), the speech transformer",
                  "--text-encoder FILE, --audio-encoder FILE, --transformer FILE, --vae FILE and --tokenizer DIR",
                  "weights.md lists what s2v needs"});
}

TEST(PartsErrors, OneFileIsNoWholeModel) {
  const TemporaryFolder folder;
  write_single(folder / kHigh, kNano / "high_noise_model");
  expect_refused(request(Task::T2V, folder / kHigh),
                 {"[" + kHigh + "] must be a whole model, is one file: " + kHigh + " (text-to-video transformer)",
                  "it lacks the text encoder", "the low-noise expert", "--low-noise FILE"});
}

TEST(PartsErrors, AnotherNetworkIsNamed) {
  const TemporaryFolder folder;
  Request asked = request(Task::T2V, kNano);
  asked.text_encoder = kNano / "Wan2.1_VAE.pth";
  expect_refused(asked, {"[Wan2.2-T2V-A14B-nano/Wan2.1_VAE.pth] must be a UMT5 encoder as the text encoder of t2v, is: "
                         "Wan 2.1 VAE; --text-encoder names another"});
  asked = request(Task::I2V, kGolden / "Wan2.2-I2V-A14B");
  asked.low_noise = kNano / "low_noise_model";
  expect_refused(asked, {"must be an image-to-video transformer as the low-noise expert of i2v, is: text-to-video "
                         "transformer; --low-noise names another"});
  expect_refused(request(Task::I2V, kNano),
                 {"high_noise_model] must be an image-to-video transformer as the high-noise "});
  asked.low_noise = folder / "absent.gguf";
  expect_refused(asked, {"[absent.gguf] must be the low-noise expert, is not there; --low-noise names it"});
}

TEST(PartsErrors, AWrongNetworkAtItsPlaceIsToldBesideWhatIsAbsent) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  fs::remove(folder / "m/Wan2.1_VAE.pth");
  fs::remove(folder / "m/models_t5_umt5-xxl-enc-bf16.pth");
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "m/models_t5_umt5-xxl-enc-bf16.pth");
  const std::string why = refusal(request(Task::T2V, folder / "m"));
  EXPECT_NE(why.find("must be a UMT5 encoder as the text encoder of t2v, is: Wan 2.1 VAE; --model names another"),
            std::string::npos)
      << why;
}

TEST(PartsErrors, ANameWithoutFolderIsLookedForInTheModelsFolder) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  write_single(folder / "models/unet/gguf/T2V-HIGH-Q4.safetensors", kNano / "high_noise_model");
  Request asked = request(Task::T2V, folder / "models");
  asked.high_noise = "T2V-HIGH-Q4.safetensors";
  asked.tokenizer = "umt5-xxl";
  const ModelParts parts = find_parts(asked);
  EXPECT_EQ(parts.path_of(Network::HighNoise), folder / "models/unet/gguf/T2V-HIGH-Q4.safetensors");
  EXPECT_EQ(parts.networks.at(Network::HighNoise).rule, "--high-noise");
  EXPECT_EQ(parts.tokenizer.path, folder / "models/text_encoders/umt5-xxl");
  const auto told = [&](const std::string& remark) {
    return std::find(parts.remarks.begin(), parts.remarks.end(), remark) != parts.remarks.end();
  };
  EXPECT_TRUE(
      told("--high-noise T2V-HIGH-Q4.safetensors is taken from the model's folder: "
           "unet/gguf/T2V-HIGH-Q4.safetensors"));
  EXPECT_TRUE(told("--tokenizer umt5-xxl is taken from the model's folder: text_encoders/umt5-xxl"));
  asked.tokenizer = "";
  asked.high_noise = "absent.gguf";
  expect_refused(asked,
                 {"[absent.gguf] must be the high-noise expert, is not there; looked in the current folder and in ",
                  "models with diffusion_models, diffusion_models/wan, unet, unet/gguf and ",
                  "; --high-noise names it with its folder"});
  asked.high_noise = folder / "other/T2V-HIGH-Q4.safetensors";
  expect_refused(asked,
                 {"must be the high-noise expert, is not there; --high-noise ",
                  "--high-noise T2V-HIGH-Q4.safetensors, without its folder, takes the one in the model's folder"});
  write_single(folder / "models/diffusion_models/T2V-HIGH-Q4.safetensors", kNano / "high_noise_model");
  asked.high_noise = "T2V-HIGH-Q4.safetensors";
  expect_refused(asked, {"is not there, and the model's folder has diffusion_models/T2V-HIGH-Q4.safetensors and "
                         "unet/gguf/T2V-HIGH-Q4.safetensors; --high-noise ",
                         "--high-noise with the whole path names one of them"});
  Request alone = all_named(kNano);
  alone.vae = "absent.pth";
  expect_refused(alone, {"[absent.pth] must be the VAE, is not there; --vae names it"});
}

TEST(PartsErrors, AnExpertMustNotBeNamedAfterTheOther) {
  Request asked = all_named(kNano);
  std::swap(asked.high_noise, asked.low_noise);
  const std::string why = refusal(asked);
  EXPECT_NE(why.find("low_noise_model] must be the high-noise expert, is named as the other one; --low-noise takes it"),
            std::string::npos)
      << why;
  EXPECT_NE(why.find("high_noise_model] must be the low-noise expert"), std::string::npos) << why;
}

TEST(PartsErrors, BothExpertsMustBeTwo) {
  const TemporaryFolder folder;
  write_single(folder / "a.safetensors", kNano / "high_noise_model");
  fs::create_hard_link(folder / "a.safetensors", folder / "b.safetensors");
  Request asked = all_named(kNano);
  asked.high_noise = folder / "a.safetensors";
  asked.low_noise = folder / "b.safetensors";
  expect_refused(asked,
                 {"[a.safetensors] must be one expert, is given as both; --high-noise and --low-noise name two"});
  fs::remove(folder / "b.safetensors");
  fs::copy(folder / "a.safetensors", folder / "b.safetensors");
  const ModelParts parts = find_parts(asked);
  try {
    check_experts_differ(identities(parts));
    ADD_FAILURE() << "a copy is the other expert";
  } catch (const ModelError& error) {
    EXPECT_STREQ(error.what(),
                 "[b.safetensors] must be the low-noise expert, has the weights of the high-noise one; "
                 "download it again, or --low-noise names it");
  }
  EXPECT_NO_THROW(check_experts_differ(identities(find_parts(request(Task::T2V, kNano)))));
}

TEST(PartsErrors, TheSameWeightsByOtherNamesAreNoSecondExpert) {
  const TemporaryFolder folder;
  Request asked = all_named(kNano);  // whose high-noise expert is two shards
  const auto prefixed = [](const std::string& name) { return "model.diffusion_model." + name; };
  write_single(folder / "low.safetensors", kNano / "high_noise_model", prefixed);
  asked.low_noise = folder / "low.safetensors";
  EXPECT_THROW(check_experts_differ(identities(find_parts(asked))), ModelError);
  write_single(folder / "low.safetensors", kNano / "low_noise_model", prefixed);
  EXPECT_NO_THROW(check_experts_differ(identities(find_parts(asked))));
}

TEST(PartsErrors, AFolderWithTheWordLowIsNoLowNoiseExpert) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  fs::create_directories(folder / "models/unet/low_vram");
  fs::rename(folder / "models/unet/Wan2.2-T2V-A14B-LowNoise-Q8_0.safetensors",
             folder / "models/unet/low_vram/wan.safetensors");
  expect_refused(request(Task::T2V, folder / "models"), {"lacks the low-noise expert", "unet/low_vram; --low-noise"});
  Request asked = request(Task::T2V, folder / "models");
  asked.low_noise = folder / "models/unet/low_vram/wan.safetensors";
  EXPECT_EQ(refusal(asked), "accepted");
}

TEST(PartsErrors, LinksAndFoldersThatCannotBeFollowed) {
  const TemporaryFolder folder;
  fs::create_symlink("loop", folder / "loop");
  fs::create_symlink("absent", folder / "dangling");
  expect_refused(request(Task::T2V, folder / "loop"), {"[loop] cannot be opened: "});
  expect_refused(request(Task::T2V, folder / "dangling"), {"[dangling] is a link to nothing"});
  expect_refused(request(Task::T2V, folder / "absent"), {"is no folder, no file and no set of models.json"});
}

TEST(NoiseLevel, IsReadFromPublishedNames) {
  const auto level = [](const char* path) {
    const auto found = noise_level(ModelPart{path, path, ""});
    return !found ? "none" : *found == NoiseLevel::High ? "high" : "low";
  };
  for (const char* path :
       {"wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "HighNoise/Wan2.2-T2V-A14B-HighNoise-Q4_K_M.gguf",
        "T2V/Wan2_2-T2V-A14B_HIGH_fp8_e4m3fn_scaled_KJ.safetensors", "high_noise_model", "transformer",
        "Wan2.2-VACE-Fun-A14B-high-noise-Q8_0.gguf", "HighNoise/model.gguf", "x/high_noise/lowvram.safetensors",
        "wan22_highnoise.safetensors", "ModelHighNoise/x.gguf", "model_high.gguf", "wan2.2_high_noise_low_vram.gguf",
        "HIGH/x.gguf", "low_vram/high.gguf", "high_noise/low_vram/x.gguf"})
    EXPECT_STREQ(level(path), "high") << path;
  for (const char* path :
       {"wan2.2_i2v_A14b_low_noise_scaled_fp8_e4m3_lightx2v_4step.safetensors", "transformer_2", "LowNoise/x.gguf",
        "low/x.gguf", "Wan2_2-I2V-A14B-LOW_bf16.safetensors", "high_noise/wan_low_noise.safetensors"})
    EXPECT_STREQ(level(path), "low") << path;
  for (const char* path :
       {"wan2.1_t2v_14B_fp16.safetensors", "flow.safetensors", "slow_highway.gguf", "wan_high_low_merged.safetensors",
        "", "transformer_3", "highres.safetensors", "low_vram/x.gguf", "Wan2.2-HIGH/x.gguf", "high_low/x.gguf"})
    EXPECT_STREQ(level(path), "none") << path;
}

TEST(NoiseLevel, TellsWhereANameSaysBoth) {
  for (const char* path :
       {"wan_high_low_merged.safetensors", "wan2.2_high_noise_low_vram.gguf", "high_noise_low_noise/x.gguf"})
    EXPECT_TRUE(says_both(ModelPart{path, path, ""})) << path;
  for (const char* path : {"high_noise/wan_low_noise.safetensors", "x.gguf", "highres_low.gguf", ""})
    EXPECT_FALSE(says_both(ModelPart{path, path, ""})) << path;
}

}  // namespace
}  // namespace wan
