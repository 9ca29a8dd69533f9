// Files that lack blocks, which look like whole ones of a smaller network.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "engine/residency/model_check.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/layouts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace layouts;

/// What check_model says of a request's parts.
std::string verdict(const Request& asked) {
  try {
    check_model(find_parts(asked));
  } catch (const ModelError& error) {
    return error.what();
  }
  return "accepted";
}

void expect_words(const Request& asked, const std::string& words) {
  const std::string why = verdict(asked);
  EXPECT_NE(why.find(words), std::string::npos) << why;
}

/// The folder "m" with a copy of the tiny model that a test may change.
fs::path copy_of_nano(const TemporaryFolder& folder) {
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  for (const auto& entry : fs::recursive_directory_iterator(folder / "m"))
    fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
  return folder / "m";
}

/// The tensors of a checkpoint as one file, without those of a block.
void write_without_block(const fs::path& to, const fs::path& from, int block) {
  const Checkpoint checkpoint = Checkpoint::open(from);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, stored] : checkpoint.tensors())
    if (!name.starts_with("blocks." + std::to_string(block) + ".")) tensors[name] = checkpoint.map(name).contiguous();
  write_safetensors(to, tensors);
}

TEST(IncompleteFiles, AnExpertThatLacksItsLastBlockIsToldByTheOther) {
  const TemporaryFolder folder;
  const auto why = [&](int block) {
    write_without_block(folder / "high.safetensors", kNano / "high_noise_model", block);
    Request asked = request(Task::T2V, kNano);
    asked.high_noise = folder / "high.safetensors";
    return verdict(asked);
  };
  EXPECT_EQ(why(6), "accepted") << "it has none";
  EXPECT_TRUE(
      why(5).ends_with("high.safetensors] has 5 blocks, and low_noise_model has 6: this one is probably "
                       "incomplete; download it again, or take both experts from one model"))
      << why(5);
  EXPECT_NE(why(2).find("high.safetensors] must have the blocks 0 to 5, as the number of its last one says, lacks "
                        "block 2: it is incomplete; download it again"),
            std::string::npos)
      << why(2);
  EXPECT_EQ(why(2).find("unknown"), std::string::npos) << why(2);
}

TEST(IncompleteFiles, AFileWithFewerBlocksThanItsConfigStatesIsIncomplete) {
  const TemporaryFolder folder;
  const fs::path low = copy_of_nano(folder) / "low_noise_model";
  for (const char* name :
       {"diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model-00001-of-00002.safetensors",
        "diffusion_pytorch_model-00002-of-00002.safetensors"})
    fs::remove(low / name);
  write_without_block(low / "diffusion_pytorch_model.safetensors", kNano / "low_noise_model", 5);
  expect_words(request(Task::T2V, folder / "m"),
               "must have the blocks 0 to 5, as low_noise_model/config.json states, lacks block 5: it is "
               "incomplete; download it again");
}

TEST(IncompleteFiles, AFullSizeTextEncoderThatLacksItsLastBlockIsIncomplete) {
  const TemporaryFolder folder;
  const fs::path model = copy_of_nano(folder);
  StoredTensors tensors = published_tensors("official_umt5_xxl_encoder");
  std::erase_if(tensors, [](const auto& entry) { return entry.first.starts_with("blocks.23."); });
  write_sparse_pth(model / "models_t5_umt5-xxl-enc-bf16.pth", tensors);
  expect_words(request(Task::T2V, model),
               "models_t5_umt5-xxl-enc-bf16.pth] must have 24 blocks, as umt5-xxl, has 23: it is incomplete; "
               "download it again");
}

}  // namespace
}  // namespace wan
