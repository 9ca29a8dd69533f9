// What is said where a part is named wrongly, is damaged, or may not be read.
#include "engine/residency/part_checks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "engine/residency/model_check.h"
#include "tests/layouts.h"
#include "tests/support.h"
#include "tests/support/other_user.h"
#include "tests/support/parts_refusal.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace layouts;

TEST(PartChecks, FilesAndFoldersThatMayNotBeReadAreTold) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  for (const fs::path& open : {folder.path(), folder / "models", folder / "m"})
    fs::permissions(open, fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  const auto expect = [&](const fs::path& closed, const Request& asked, const std::vector<std::string>& words) {
    const fs::perms before = fs::status(closed).permissions();
    fs::permissions(closed, fs::perms::none);
    const auto why = as_other_user([&] {
      try {
        const ModelParts parts = find_parts(asked);
        check_model(parts);
      } catch (const ModelError& error) {
        return std::string(error.what());
      }
      return std::string("accepted");
    });
    fs::permissions(closed, before);
    if (!why) return false;
    for (const std::string& word : words) EXPECT_NE(why->find(word), std::string::npos) << word << "\n" << *why;
    return true;
  };
  const std::string denied = "Permission denied; give yourself the right to read it";
  if (!expect(folder / "models/vae", request(Task::T2V, folder / "models"),
              {"lacks the VAE", "cannot look into vae: Permission denied"}))
    GTEST_SKIP() << "root's rights cannot be given up here";
  expect(folder / "models", request(Task::T2V, folder / "models"), {"[models] cannot be listed: " + denied});
  expect(folder / "m/Wan2.1_VAE.pth", request(Task::T2V, folder / "m"),
         {"[m/Wan2.1_VAE.pth] must be a readable file: " + denied});
  expect(folder / "m/low_noise_model", request(Task::T2V, folder / "m"), {"low_noise_model", "Permission denied"});
  expect(folder / "m/google/umt5-xxl/tokenizer.json", request(Task::T2V, folder / "m"),
         {"umt5-xxl/tokenizer.json] must be a readable file: " + denied});
  expect(folder / "models/vae/wan_2.1_vae.safetensors", request(Task::T2V, folder / "models"),
         {"wan_2.1_vae.safetensors (cannot be read: it must be a readable file: Permission denied)"});
}

TEST(PartChecks, WhatNobodyMayLookAtIsNotCalledAbsent) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  fs::create_directories(folder / "closed");
  fs::copy(kNano / "google/umt5-xxl", folder / "closed/t", fs::copy_options::recursive);
  write_single(folder / "closed/vae.safetensors", kNano / "Wan2.1_VAE.pth");
  fs::permissions(folder.path(), fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  const auto why = [&](const fs::path& closed, const Request& asked, fs::perms perms = fs::perms::none) {
    const fs::perms before = fs::status(closed).permissions();
    fs::permissions(closed, perms);
    const auto text = as_other_user([&] { return refusal(asked); });
    fs::permissions(closed, before);
    return text;
  };
  const std::string denied =
      "Permission denied; give yourself the right to read it, and to enter its folder (chmod u+rX)";
  const Request whole = request(Task::T2V, folder / "m");
  const auto first = why(folder / "m/google/umt5-xxl", whole);
  if (!first) GTEST_SKIP() << "root's rights cannot be given up here";
  const std::string tokenizer = "google/umt5-xxl] must be the tokenizer's folder, cannot be looked into: " + denied +
                                ", or --tokenizer names another";
  EXPECT_NE(first->find(tokenizer), std::string::npos) << *first;
  EXPECT_EQ(first->find("lacks"), std::string::npos) << *first;
  EXPECT_NE(why(folder / "m/google", whole)->find(tokenizer), std::string::npos) << "the folder around it";
  const auto listed_only = fs::perms::owner_read | fs::perms::others_read;
  EXPECT_NE(why(folder / "m/google/umt5-xxl", whole, listed_only)->find(tokenizer), std::string::npos);
  Request asked = whole;
  asked.tokenizer = folder / "closed/t";
  EXPECT_NE(why(folder / "closed/t", asked)->find("t] must be the tokenizer's folder, cannot be looked into: "),
            std::string::npos);
  EXPECT_NE(why(folder / "closed", asked)->find("t] must be the tokenizer, cannot be looked at: " + denied),
            std::string::npos);
  asked = whole;
  asked.vae = folder / "closed/vae.safetensors";
  EXPECT_NE(why(folder / "closed", asked)->find("vae.safetensors] must be the VAE, cannot be looked at: " + denied),
            std::string::npos);
  asked = whole;
  asked.loras.resize(1);
  asked.loras[0].path = folder / "closed/vae.safetensors";
  EXPECT_NE(why(folder / "closed", asked)->find("must be a LoRA's file, cannot be looked at: " + denied),
            std::string::npos);
  write_comfy(folder / "models");
  EXPECT_NE(why(folder / "models/vae", request(Task::T2V, folder / "models"), listed_only)
                ->find("cannot look into vae: Permission denied"),
            std::string::npos)
      << "names that can be listed and not opened";
}

TEST(PartChecks, AWholeModelAsOnePartIsToldTheNameOfThePart) {
  Request asked = all_named(kNano);
  asked.high_noise = kNano;
  asked.vae = kNano / "";
  const std::string why = refusal(asked);
  const std::string is = " must be the high-noise expert, is the folder of a whole model; --high-noise ";
  EXPECT_NE(why.find("nano]" + is + "Wan2.2-T2V-A14B-nano/high_noise_model names the part, --model the whole"),
            std::string::npos)
      << why;
  EXPECT_NE(why.find("--vae Wan2.2-T2V-A14B-nano/Wan2.1_VAE.pth names the part"), std::string::npos) << why;
  const TemporaryFolder folder;
  write_diffusers(folder / "d");
  asked = all_named(kNano);
  asked.low_noise = folder / "d";
  expect_refused(asked, {"[d] must be the low-noise expert, is the folder of a whole model; --low-noise "
                         "d/transformer_2 names the part"});
  asked = all_named(kNano);
  asked.tokenizer = kNano;
  expect_refused(asked, {"must be the tokenizer's folder, is that of a whole model; --tokenizer google/umt5-xxl"});
}

TEST(PartChecks, ALoraIsNoPart) {
  Request asked = all_named(kNano);
  asked.high_noise = fs::path(WAN_SOURCE_DIR) / "tests/formats/lora/comfy_ab_noalpha.safetensors";
  expect_refused(asked,
                 {"must be a text-to-video transformer as the high-noise expert of t2v, is a LoRA, which changes "
                  "a network and is none; --lora applies it; --high-noise names a checkpoint"});
}

TEST(PartChecks, ALoraAtThePlaceOfAnExpertIsNamed) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  fs::remove_all(folder / "m/high_noise_model");
  fs::create_directories(folder / "m/high_noise_model");
  fs::copy_file(fs::path(WAN_SOURCE_DIR) / "tests/formats/lora/comfy_ab_noalpha.safetensors",
                folder / "m/high_noise_model/fast.safetensors");
  expect_refused(request(Task::T2V, folder / "m"),
                 {"high_noise_model/fast.safetensors] must be a text-to-video transformer as the high-noise expert of "
                  "t2v, is a LoRA, which changes a network and is none"});
}

TEST(PartChecks, AFileInTheFolderOfTheOtherExpertIsNoted) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  fs::remove_all(folder / "m/high_noise_model");
  const fs::path low = folder / "m/high_noise_model/wan2.2_t2v_low_noise_14B.safetensors";
  write_single(low, kNano / "high_noise_model");
  const std::vector<std::string> wanted = {
      "high_noise_model/wan2.2_t2v_low_noise_14B.safetensors is taken as the high-noise expert by its folder, and its "
      "name says low noise: are the experts swapped?"};
  EXPECT_EQ(find_parts(request(Task::T2V, folder / "m")).remarks, wanted);
  Request asked = all_named(kNano);
  asked.high_noise = folder / "m/high_noise_model";
  EXPECT_EQ(find_parts(asked).remarks, wanted) << "also where the folder is named";
  fs::rename(low, folder / "m/high_noise_model/any.safetensors");
  EXPECT_EQ(find_parts(request(Task::T2V, folder / "m")).remarks, std::vector<std::string>());
}

TEST(PartChecks, ANameThatIsItsOwnPlaceIsSaidOnce) {
  Request asked = request(Task::T2V, kNano);
  asked.vae = "Wan2.1_VAE.pth";
  EXPECT_EQ(find_parts(asked).remarks,
            std::vector<std::string>{"--vae Wan2.1_VAE.pth is taken from the model's folder"});
}

TEST(PartChecks, AnotherFileAsTheTokenizerIsNamed) {
  const TemporaryFolder folder;
  const auto why = [](const fs::path& tokenizer) {
    Request asked = all_named(kNano);
    asked.tokenizer = tokenizer;
    try {
      check_model(find_parts(asked));
    } catch (const ModelError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(why(kNano / "Wan2.1_VAE.pth")
                .find("] must be a tokenizer (tokenizer.json, spiece.model, a folder with one of "
                      "them, or a text encoder that holds one), is: Wan 2.1 VAE; --tokenizer "
                      "names another"),
            std::string::npos)
      << why(kNano / "Wan2.1_VAE.pth");
  fs::copy(kNano / "google/umt5-xxl/tokenizer.json", folder / "mine.json");
  EXPECT_EQ(why(folder / "mine.json"), "accepted");
  std::ofstream(folder / "page.model") << "<html>sign in";
  EXPECT_NE(why(folder / "page.model").find("[page.model] is a web page"), std::string::npos)
      << why(folder / "page.model");
}

TEST(PartChecks, AnExpertOfWhichTensorsAreAbsentSaysWhich) {
  Request asked = all_named(kNano);
  asked.high_noise = fs::path(WAN_SOURCE_DIR) / "tests/formats/fp8/plain_fp8.safetensors";
  try {
    check_model(find_parts(asked));
    ADD_FAILURE();
  } catch (const ModelError& error) {
    const std::string why = error.what();
    EXPECT_NE(why.find("plain_fp8.safetensors"), std::string::npos) << why;
    EXPECT_NE(why.find(" is absent"), std::string::npos) << why;
    EXPECT_EQ(why.find("gives 0"), std::string::npos) << why;
  }
}

TEST(PartChecks, ADamagedFileInAFolderKeepsItsReason) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  const fs::path vae = folder / "models/vae/wan_2.1_vae.safetensors";
  fs::resize_file(vae, fs::file_size(vae) - 4);
  expect_refused(request(Task::T2V, folder / "models"),
                 {"lacks the VAE", "vae/wan_2.1_vae.safetensors (cannot be read: it is cut short: "});
}

TEST(PartChecks, ADamagedFilesReasonIsWholeWhateverItsFolderIsCalled) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  const fs::path vae = folder / "models/vae/a] b/wan_2.1_vae.safetensors";
  fs::create_directories(vae.parent_path());
  fs::rename(folder / "models/vae/wan_2.1_vae.safetensors", vae);
  fs::resize_file(vae, fs::file_size(vae) - 4);
  expect_refused(request(Task::T2V, folder / "models"), {"lacks the VAE", " (cannot be read: it is cut short: "});
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "models/vae/vae.pth");
  const std::vector<std::string> remarks = find_parts(request(Task::T2V, folder / "models")).remarks;
  const auto tells = [](const std::string& remark) {
    return remark.starts_with("cannot be read and left out: ") && remark.find(" (is cut short: ") != std::string::npos;
  };
  EXPECT_TRUE(std::any_of(remarks.begin(), remarks.end(), tells)) << testing::PrintToString(remarks);
}

TEST(PartChecks, DamagedFilesBesideAWholeOneAreTold) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  const fs::path vae = folder / "models/vae/wan_2.1_vae.safetensors", cut = folder / "models/vae/cut.safetensors";
  fs::copy(vae, cut);
  fs::resize_file(cut, fs::file_size(cut) - 4);
  const ModelParts parts = find_parts(request(Task::T2V, folder / "models"));
  EXPECT_EQ(parts.path_of(Network::Vae), vae);
  ASSERT_EQ(parts.remarks.size(), 1u);
  EXPECT_TRUE(
      parts.remarks[0].starts_with("cannot be read and left out: diffusion_models/high_noise_broken.safetensors ("))
      << parts.remarks[0];
  EXPECT_NE(parts.remarks[0].find("and vae/cut.safetensors (is cut short: "), std::string::npos) << parts.remarks[0];
  for (int i = 0; i < 20; ++i) fs::copy(cut, folder / "models/vae" / (std::to_string(i) + ".safetensors"));
  const std::string many = find_parts(request(Task::T2V, folder / "models")).remarks.at(0);
  EXPECT_TRUE(many.ends_with("and 18 more")) << many;
}

TEST(PartChecks, AFlagDecidesWhereANameSaysBoth) {
  const TemporaryFolder folder;
  write_single(folder / "wan_high_noise_low_vram.safetensors", kNano / "low_noise_model");
  write_single(folder / "high_low_merged.safetensors", kNano / "high_noise_model");
  Request asked = all_named(kNano);
  asked.low_noise = folder / "wan_high_noise_low_vram.safetensors";
  asked.high_noise = folder / "high_low_merged.safetensors";
  const ModelParts parts = find_parts(asked);
  const std::vector<std::string> wanted = {
      "high_low_merged.safetensors is taken as the high-noise expert as asked: its name says both high and low noise",
      "wan_high_noise_low_vram.safetensors is taken as the low-noise expert as asked: its name says both high and low "
      "noise"};
  EXPECT_EQ(parts.remarks, wanted);
  asked.low_noise = kNano / "high_noise_model";
  EXPECT_NE(refusal(asked).find("is named as the other one"), std::string::npos) << refusal(asked);
}

TEST(PartChecks, OfTwoTokenizersInOneFolderTheTakenOneIsTold) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  fs::remove(folder / "models/diffusion_models/high_noise_broken.safetensors");  // which is told
  Request asked = request(Task::T2V, folder / "models");
  fs::create_directories(folder / "t");
  fs::copy(kNano / "google/umt5-xxl/tokenizer.json", folder / "t/tokenizer.json");
  asked.tokenizer = folder / "t";
  EXPECT_EQ(find_parts(asked).remarks, std::vector<std::string>());
  std::ofstream(folder / "t/spiece.model") << "x";
  EXPECT_EQ(find_parts(asked).remarks,
            std::vector<std::string>{"t holds tokenizer.json and spiece.model: tokenizer.json is taken"});
  EXPECT_EQ(find_parts(request(Task::T2V, kNano)).remarks, std::vector<std::string>()) << "as published";
}

}  // namespace
}  // namespace wan
