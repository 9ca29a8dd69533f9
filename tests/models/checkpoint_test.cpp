#include "models/weights/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "models/weights/format/format.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/scope.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";
const std::string kIndex = "diffusion_pytorch_model.safetensors.index.json";

/// Two shards, "a" in the first and "b" in the second, under the index that a test gives.
struct Shards {
  Shards() {
    write_safetensors(folder / "one.safetensors", {{"a", at::ones({4})}});
    write_safetensors(folder / "two.safetensors", {{"b", at::zeros({2, 3})}});
  }
  std::string refused_with(const std::string& index) {
    std::ofstream(folder / kIndex) << index;
    return refusal_of(folder.path());
  }
  TemporaryFolder folder;
};

double peak_megabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

TEST(MappedFile, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  EXPECT_NE(refusal_of(folder / "absent.pth").find("is absent"), std::string::npos);
  EXPECT_THROW(MappedFile::open(folder.path()), ModelError);
  EXPECT_THROW(MappedFile::open("/dev/zero"), ModelError);
  ASSERT_EQ(mkfifo((folder / "pipe.pth").c_str(), 0600), 0);
  EXPECT_NE(refusal_of(folder / "pipe.pth").find("must be a file"), std::string::npos)
      << "and does not wait for a writer";
}

TEST(Checkpoint, OpensShardsByTheirIndexThroughLinks) {
  const TemporaryFolder cache;  // as download caches do: the folder holds links, the blobs have other names
  fs::create_directories(cache / "snapshot");
  for (const auto& entry : fs::directory_iterator(kNano / "high_noise_model"))
    fs::create_symlink(entry.path(), cache / "snapshot" / entry.path().filename());
  const Checkpoint direct = Checkpoint::open(kNano / "high_noise_model");
  const Checkpoint linked = Checkpoint::open(cache / "snapshot");
  EXPECT_EQ(direct.files().size(), 2u);
  ASSERT_EQ(direct.tensors().size(), linked.tensors().size());
  EXPECT_EQ(direct.bytes(), linked.bytes());
  for (const auto& entry : direct.tensors()) EXPECT_TRUE(at::equal(direct.map(entry.first), linked.map(entry.first)));
  EXPECT_THROW(direct.map("no.such.tensor"), ModelError);
}

TEST(Checkpoint, RecognisesFilesWithoutTheirExtension) {
  const TemporaryFolder cache;
  fs::create_symlink(kNano / "Wan2.1_VAE.pth", cache / "0f3a");
  EXPECT_EQ(Checkpoint::open(cache / "0f3a").tensors().size(), 194u);
  write_safetensors(cache / "77ab", {{"a", at::ones({4})}});
  EXPECT_EQ(Checkpoint::open(cache / "77ab").tensors().size(), 1u);
  std::ofstream(cache / "text") << "this is no checkpoint";
  EXPECT_NE(refusal_of(cache / "text").find("is a text, not the file itself: \"this is no checkpoint\""),
            std::string::npos);
  std::ofstream(cache / "noise") << "\x01\x02 this is no checkpoint";
  EXPECT_NE(refusal_of(cache / "noise").find("must be a .safetensors file, a torch archive (.pth) or a .gguf file"),
            std::string::npos);
  EXPECT_NE(refusal_of(cache.path()).find("holds neither"), std::string::npos);
}

TEST(Checkpoint, OnlyTheFilesOfTheNetworkCount) {
  const TemporaryFolder folder;
  fs::copy(kNano / "high_noise_model", folder.path(), fs::copy_options::recursive);
  const std::vector<fs::path> files = Checkpoint::paths(folder.path());
  ASSERT_EQ(files.size(), 3u);
  fs::create_directories(folder / ".cache/huggingface/download");
  for (const char* name : {"._diffusion_pytorch_model-00001-of-00002.safetensors", ".DS_Store", "other.safetensors",
                           "diffusion_pytorch_model-00001-of-00002.safetensors.part", "x.safetensors.incomplete"})
    std::ofstream(folder / name) << "\x01\x05\x16\x07";
  EXPECT_EQ(Checkpoint::paths(folder.path()), files);
  EXPECT_EQ(Checkpoint::open(folder.path()).tensors().size(),
            Checkpoint::open(kNano / "high_noise_model").tensors().size());
}

TEST(Checkpoint, ReadsShardsWithoutAnIndex) {
  const TemporaryFolder folder;
  const auto shard = [&](int number, const char* family = "model") {
    return folder / (std::string(family) + "-0000" + std::to_string(number) + "-of-00002.safetensors");
  };
  std::ofstream(folder / "._model-00001-of-00002.safetensors") << "Mac OS X";
  write_safetensors(shard(1), {{"a", at::ones({4})}});
  EXPECT_NE(refusal_of(folder.path()).find("model-00002-of-00002.safetensors] is absent"), std::string::npos);
  std::ofstream(shard(2).string() + ".incomplete") << "x";
  EXPECT_NE(refusal_of(folder.path()).find("model-00002-of-00002.safetensors.incomplete is unfinished"),
            std::string::npos);
  write_safetensors(shard(2), {{"b", at::zeros({2, 3})}});
  EXPECT_EQ(Checkpoint::open(folder.path()).tensors().size(), 2u);
  EXPECT_EQ(Checkpoint::paths(folder.path()), (std::vector<fs::path>{shard(1), shard(2)}));
  write_safetensors(shard(2), {{"a", at::zeros({2, 3})}});
  EXPECT_NE(refusal_of(folder.path()).find("-00002-of-00002.safetensors: a] must lie in one file, lies in "),
            std::string::npos);
  write_safetensors(shard(1, "other"), {{"a", at::ones({4})}});
  EXPECT_NE(refusal_of(folder.path()).find("must hold one network, holds model-00001-of-00002.safetensors and other-"),
            std::string::npos);
}

TEST(Checkpoint, ReadsTheOnlyFileOfAnyName) {
  const TemporaryFolder folder;
  write_safetensors(folder / "wan2.2_high_noise.safetensors", {{"a", at::ones({4})}});
  EXPECT_EQ(Checkpoint::open(folder.path()).tensors().size(), 1u);
  write_safetensors(folder / "wan2.2_low_noise.safetensors", {{"a", at::ones({4})}});
  EXPECT_NE(refusal_of(folder.path()).find("must hold one network"), std::string::npos);
  fs::create_symlink(folder / "gone", folder / "model.safetensors");
  EXPECT_NE(refusal_of(folder.path()).find("model.safetensors] is a link to a file that is not there"),
            std::string::npos);
}

TEST(Checkpoint, RefusesAnIndexThatContradictsItsFiles) {
  Shards shards;
  EXPECT_EQ(
      shards.refused_with(
          R"({"metadata":{"total_size":40,"x":[1,{"y":null}]},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"),
      "");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"weight_map":{"a":"one.safetensors"}})", ""},
      {R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}})",
       "c] is in the index and not in the file"},
      {R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors"}})", "b] is in the index and not in the file"},
      {R"({"weight_map":{"a":"two.safetensors","b":"two.safetensors"}})", "a] is in the index and not in the file"},
      {R"({"weight_map":{"a":"two.safetensors","b":"one.safetensors"}})",
       "a] must lie in two.safetensors by the index"},
      {R"({"weight_map":{"b":"one.safetensors"}})", "a] is not in the index"},
      {R"({"weight_map":{"a":"one.safetensors","a":"two.safetensors"}})", "a] occurs twice"},
      {R"({"weight_map":{"a":"three.safetensors"}})", "three.safetensors] is absent"},
      {R"({"weight_map":{"a":"../one.safetensors"}})", "must lie in a .safetensors file of the same folder"},
      {R"({"weight_map":{"a":"/etc/x.safetensors"}})", "must lie in a .safetensors file of the same folder"},
      {R"({"weight_map":{"a":"sub\\one.safetensors"}})", "must lie in a .safetensors file of the same folder"},
      {R"({"weight_map":{"a":"one.safetensors\u0000.safetensors"}})",
       "must lie in a .safetensors file of the same folder"},
      {R"({"weight_map":{"a":".."}})", "must lie in a .safetensors file of the same folder"},
      {R"({"weight_map":{"a":"passwd"}})", "must lie in a .safetensors file of the same folder"},
      {R"({"weight_map":{"a":3}})", "must be the name of a file"},
      {R"({"weight_map":{"a":["one.safetensors"]}})", "must be the name of a file"},
      {R"({"weight_map":{}})", "must have a weight_map"},
      {R"([{"weight_map":{"a":"one.safetensors"}}])", "must have a weight_map"},
      {R"({"weight_map":{"a":"one.safeten)", "must be JSON, breaks at byte"},
      {std::string(200000, '['), "must be JSON, breaks at byte"},
      {"", "must not be empty"},
  };
  for (const auto& [index, reason] : cases) {
    const std::string why = shards.refused_with(index);
    EXPECT_NE(why.find(reason), std::string::npos) << index.substr(0, 100) << ": " << why;
  }
}

TEST(Checkpoint, RefusesATensorInTwoShards) {
  Shards shards;
  write_safetensors(shards.folder / "two.safetensors", {{"a", at::ones({4})}, {"b", at::zeros({2, 3})}});
  const std::string why = shards.refused_with(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  EXPECT_NE(why.find("two.safetensors: a] must lie in one.safetensors by the index"), std::string::npos) << why;
}

TEST(Checkpoint, HeadersDoNotIncludeTheData) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a.safetensors", {{"a", at::ones({4096})}});
  const auto size = [](const fs::path& path) {
    size_t sum = 0;
    for (std::string_view part : header_of(MappedFile::open(path))) sum += part.size();
    return sum;
  };
  EXPECT_EQ(size(folder / "a.safetensors"), fs::file_size(folder / "a.safetensors") - 4 * 4096);
  const fs::path vae = kNano / "Wan2.1_VAE.pth";
  EXPECT_LT(size(vae), fs::file_size(vae) / 4);
  EXPECT_GT(size(vae), 20'000u);
  const fs::path legacy = fs::path(WAN_SOURCE_DIR) / "tests/formats/pickle/legacy_state_dict.pth";
  EXPECT_LT(size(legacy), fs::file_size(legacy));
  EXPECT_EQ(size(kNano / "high_noise_model/config.json"), fs::file_size(kNano / "high_noise_model/config.json"));
}

TEST(Checkpoint, OpensTheRealSizeInNoTimeAndMemory) {
  const TemporaryFolder folder;
  write_sparse_t2v_folder(folder.path());
  const double before = peak_megabytes();
  const auto start = std::chrono::steady_clock::now();
  const Checkpoint high = Checkpoint::open(folder / "high_noise_model"),
                   low = Checkpoint::open(folder / "low_noise_model");
  const Checkpoint text = Checkpoint::open(folder / "models_t5_umt5-xxl-enc-bf16.pth"),
                   vae = Checkpoint::open(folder / "Wan2.1_VAE.pth");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(high.tensors().size(), 1095u);
  EXPECT_EQ(high.bytes(), 57'153'966'336u);
  EXPECT_EQ(low.files().size(), 6u);
  EXPECT_EQ(text.bytes(), 11'361'820'672u) << "the last records lie past 4 GiB: zip64";
  EXPECT_EQ(vae.bytes(), 507'570'124u);
  EXPECT_EQ(text.map("token_embedding.weight").index({256383}).sum().item<float>(), 0.f);
  EXPECT_EQ(text.map("norm.weight").sum().item<float>(), 0.f);
  EXPECT_LT(seconds, 1);
  EXPECT_LT(peak_megabytes() - before, 100);
}

TEST(Weights, ANetworkTakesEveryNameOnce) {
  const TemporaryFolder folder;
  write_safetensors(
      folder / "x.safetensors",
      {{"blocks.0.q.weight", at::ones({2, 3})}, {"blocks.0.modulation", at::ones({1, 6, 2})}, {"top", at::ones({1})}});
  Weights weights(Checkpoint::open(folder / "x.safetensors"));
  const Scope block = weights.root() / "blocks" / 0;
  EXPECT_EQ(block.path(), "blocks.0");
  EXPECT_TRUE(block.has("modulation"));
  EXPECT_FALSE(block.has("q"));
  EXPECT_EQ((block / "q").shape("weight"), std::vector<int64_t>({2, 3}));
  EXPECT_TRUE((block / "q").shape("bias").empty());
  EXPECT_TRUE(at::equal((block / "q").take("weight", {2, 3}, Role::Matmul).tensor(), at::ones({2, 3})));
  block.take("modulation", {1, 6, 2}, Role::Float32);
  EXPECT_EQ(weights.unused(), std::vector<std::string>{"top"});
  weights.root().take("top", {1}, Role::Float32);
  EXPECT_NO_THROW(weights.finish());
  EXPECT_THROW(weights.root().take("top", {1}, Role::Float32), std::logic_error);
}

TEST(Weights, OneErrorListsEverything) {
  std::map<std::string, StoredTensor> tensors;
  for (int i = 0; i < 12; ++i)
    tensors.emplace("extra." + std::to_string(i), StoredTensor{at::kFloat, {2}, {1}, nullptr, 0});
  tensors.emplace("wrong", StoredTensor{at::kFloat, {2, 3}, {3, 1}, nullptr, 0});
  tensors.emplace("whole", StoredTensor{at::kLong, {2}, {1}, nullptr, 0});
  Weights weights(Checkpoint::names_only(tensors, "some model"));
  EXPECT_FALSE(weights.root().take("absent", {1}, Role::Matmul).defined());
  EXPECT_FALSE(weights.root().take("wrong", {3, 2}, Role::Matmul).defined());
  EXPECT_FALSE(weights.root().take("whole", {2}, Role::Matmul).defined());
  EXPECT_EQ(weights.root().take("extra.3", {2}, Role::Matmul).device(), at::Device(at::kMeta));
  try {
    weights.finish();
    FAIL() << "three lists are not empty";
  } catch (const ModelError& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.subject, "some model");
    EXPECT_NE(text.find("1 missing (absent)"), std::string::npos) << text;
    EXPECT_NE(text.find("2 of another kind (wrong must be [3, 2], is [2, 3], whole must hold floats, holds I64)"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("11 unknown (extra.0, extra.1, extra.10, "), std::string::npos) << text;
    EXPECT_NE(text.find("extra.8, ...)"), std::string::npos) << text;
  }
}

}  // namespace wan
