// Which files and folders of a model folder are networks, told from their names.
#include "engine/residency/folder_scan.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

void touch(const TemporaryFolder& folder, const Names& files) {
  for (const std::string& file : files) {
    fs::create_directories((folder / file).parent_path());
    std::ofstream(folder / file) << "{}";
  }
}

Names names_of(const FolderScan& scan) {
  Names names;
  for (const ModelPart& part : scan.checkpoints) names.push_back(part.name);
  return names;
}

TEST(FolderScan, TakesEveryFileOfAFolderThatIsNotOfItsNetwork) {
  const std::pair<Names, Names> cases[] = {
      {{"e/model.safetensors", "e/config.json"}, {"e"}},
      {{"e/model.safetensors", "e/wan_high_noise.gguf"}, {"e", "e/wan_high_noise.gguf"}},
      {{"e/pytorch_model.bin", "e/a.pth"}, {"e", "e/a.pth"}},
      {{"e/only.gguf", "e/config.json"}, {"e"}},
      {{"e/a.safetensors", "e/b.gguf", "e/config.json"}, {"e/a.safetensors", "e/b.gguf"}},
      {{"e/diffusion_pytorch_model.safetensors", "e/b.gguf"}, {"e", "e/b.gguf"}},
      {{"e/x-00001-of-00002.safetensors", "e/x-00002-of-00002.safetensors", "e/c.pt"}, {"e", "e/c.pt"}},
  };
  for (const auto& [files, wanted] : cases) {
    const TemporaryFolder folder;
    touch(folder, files);
    EXPECT_EQ(names_of(scan_folder(folder.path())), wanted) << files[0] << ", " << files[1];
  }
}

TEST(FolderScan, TellsAFileThatIsLeftOutBesideAnotherOfTheUsualNames) {
  const TemporaryFolder folder;
  touch(folder, {"e/model.safetensors", "e/pytorch_model.bin", "e/config.json"});
  const FolderScan scan = scan_folder(folder.path());
  EXPECT_EQ(names_of(scan), Names{"e"});
  EXPECT_EQ(remarks_of(scan),
            Names{"e/pytorch_model.bin left out: model.safetensors beside it is taken as the same weights"});
}

TEST(FolderScan, AtTheTopTakesAFileByItsOwnName) {
  for (const char* name : {"wan_high_noise.safetensors", "wan_high_noise.gguf", "model.safetensors"}) {
    const TemporaryFolder folder;
    touch(folder, {name, "config.json"});
    EXPECT_EQ(names_of(scan_folder(folder.path())), Names{name}) << "whose words say which expert it is";
  }
  const TemporaryFolder folder;
  touch(folder, {"diffusion_pytorch_model.safetensors", "config.json"});
  EXPECT_EQ(names_of(scan_folder(folder.path())), Names{"."});
}

TEST(FolderScan, SeesEveryEndingThatIsRead) {
  const Names files = {"a.safetensors", "b.sft", "c.pth", "d.pt", "e.bin", "f.pkl", "g.ckpt", "h.gguf"};
  const TemporaryFolder folder;
  touch(folder, files);
  touch(folder, {"readme.txt", "config.json", "no_ending"});
  EXPECT_EQ(names_of(scan_folder(folder.path())), files);
}

TEST(FolderScan, IsBounded) {
  const TemporaryFolder folder;
  for (size_t i = 0; i < kMostCheckpoints + 10; ++i) std::ofstream(folder / (std::to_string(i) + ".gguf"));
  const FolderScan scan = scan_folder(folder.path());
  EXPECT_EQ(scan.checkpoints.size(), kMostCheckpoints);
  EXPECT_TRUE(scan.cut);
  EXPECT_EQ(remarks_of(scan).size(), 1u);
}

TEST(FolderScan, TellsFoldersThatLieTooDeep) {
  const TemporaryFolder folder;
  touch(folder, {"1/2/3/4/deep.gguf", "1/2/3/4b/5/deep.gguf", "1/2/3/4c/tokenizer.json"});
  const FolderScan scan = scan_folder(folder.path());
  EXPECT_EQ(names_of(scan), Names{});
  EXPECT_EQ(remarks_of(scan), Names{"not looked into 1/2/3/4 and 1/2/3/4b: more than 3 folders deep; name a folder "
                                    "nearer to the files"});
  const FolderScan shallow = scan_folder(folder / "1");
  EXPECT_EQ(names_of(shallow), Names{"2/3/4/deep.gguf"}) << "three levels below";
}

}  // namespace
}  // namespace wan
