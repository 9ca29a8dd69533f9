// What inspect says of safety checkers.
#include <gtest/gtest.h>

#include <fstream>

#include "models/files/error.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tools/cli/inspect_output.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(WAN_SOURCE_DIR) / "tests/golden/safety";

std::string last_line(const std::string& text) {
  const size_t end = text.size() - 1;
  return text.substr(text.rfind('\n', end - 1) + 1, end - text.rfind('\n', end - 1) - 1);
}

TEST(InspectSafety, SaysWhatACheckerTellsApart) {
  const TemporaryFolder folder;
  fs::copy(kGolden / "vit_small", folder / "vit");
  fs::copy(kGolden / "clip_small", folder / "clip");
  const Inspection vit = inspect(folder / "vit"), clip = inspect(folder / "clip");
  EXPECT_EQ(vit.kind, "image classifier (ViT)");
  ASSERT_EQ(vit.networks.size(), 1u);
  EXPECT_EQ(vit.networks[0].files, std::vector<std::string>{"model.safetensors"});
  const std::string text = to_text(vit, false);
  EXPECT_TRUE(text.starts_with("vit: image classifier (ViT)\nvit: image classifier (ViT), 1 file, 56 tensors, "))
      << text;
  EXPECT_EQ(last_line(text),
            "  safety checker: labels normal and nsfw, 3 layers of 32, pictures of 32 pixels in patches of 8");
  EXPECT_EQ(clip.kind, "Stable Diffusion safety checker");
  EXPECT_EQ(last_line(to_text(clip, false)),
            "  safety checker: concepts in 24 dimensions, 3 layers of 32, pictures of 30 pixels in patches of 7");
  EXPECT_EQ(to_json(clip, false).at("networks").at(0).at("notes").size(), 1u);
  // A file beside its config.json is told as its folder is.
  EXPECT_EQ(last_line(to_text(inspect(folder / "vit/model.safetensors"), false)), last_line(text));
}

TEST(InspectSafety, SaysWhyAFolderIsNone) {
  const TemporaryFolder folder;
  const auto note = [&](const std::string& name) { return inspect(folder / name).networks.at(0).notes.at(0); };
  fs::copy(kGolden / "vit_small", folder / "other");
  std::ofstream(folder / "other/config.json") << R"({"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}})";
  EXPECT_EQ(note("other"),
            "no safety checker as it lies there: [other/config.json] id2label must have the label nsfw once, has: cat, "
            "dog; take a "
            "safety checker such as Falconsai/nsfw_image_detection");
  fs::copy(kGolden / "clip_small", folder / "mixed");
  fs::copy_file(kGolden / "vit_small/config.json", folder / "mixed/config.json", fs::copy_options::overwrite_existing);
  EXPECT_EQ(note("mixed"),
            "no safety checker as it lies there: [mixed/config.json] must describe the weights beside it (Stable "
            "Diffusion safety "
            "checker), describes: image classifier (ViT); take both files of one model");
  fs::create_directories(folder / "alone");
  write_sparse_pth(folder / "alone/pytorch_model.bin", published_tensors("sd_safety_checker"));
  EXPECT_NE(note("alone").find("must hold config.json, which tells which safety checker it is, holds none"),
            std::string::npos);
}

TEST(InspectSafety, AFolderWithoutWeightsIsToldWhatItLacks) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "alone");
  fs::copy_file(kGolden / "vit_small/config.json", folder / "alone/config.json");
  try {
    inspect(folder / "alone");
    ADD_FAILURE() << "listed";
  } catch (const ModelError& error) {
    EXPECT_TRUE(error.text.ends_with("; docs/safety.md lists the files of a safety checker")) << error.text;
  }
}

TEST(InspectSafety, OfAWholeModelIsOneOfItsNetworks) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "sd/feature_extractor");
  fs::copy(kGolden / "clip_small", folder / "sd/safety_checker");
  fs::remove(folder / "sd/safety_checker/case.safetensors");
  fs::rename(folder / "sd/safety_checker/preprocessor_config.json",
             folder / "sd/feature_extractor/preprocessor_config.json");
  const Inspection found = inspect(folder / "sd");
  ASSERT_EQ(found.networks.size(), 1u);
  EXPECT_EQ(found.networks[0].name, "safety_checker");
  EXPECT_TRUE(found.networks[0].notes.at(0).starts_with("safety checker: concepts in 24 dimensions"));
}

}  // namespace
}  // namespace wan
