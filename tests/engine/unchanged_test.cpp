// Whether a file of a model that changes after it was identified is noticed when it is opened.
#include "engine/residency/unchanged.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>

#include "engine/residency/open_network.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"
#include "tests/layouts.h"
#include "tests/parts.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const std::string kLow = "low_noise_model/diffusion_pytorch_model-00002-of-00002.safetensors";
const std::string kBegan = "must stay as it was when the run began, ";

/// A copy of the tiny model that remembers its files.
struct Scene {
  Scene() {
    fs::copy(layouts::kNano, folder / "m", fs::copy_options::recursive);
    parts = parts_of(folder / "m", Task::T2V);
    remember(parts, identities(parts));
  }
  fs::path at(const std::string& name) const { return folder / "m" / name; }

  std::string opening(Network network) const {
    return answer([&] { open_network(network, parts); });
  }
  std::string computing() const {
    return answer([&] { check_not_rewritten(parts); });
  }
  static std::string answer(const std::function<void()>& work) {
    try {
      work();
    } catch (const ModelError& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder;
  ModelParts parts;
};

void expect_words(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& word : words) EXPECT_NE(text.find(word), std::string::npos) << word << "\n" << text;
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

/// Other bytes in the data of the first tensor; the times are set as given.
void rewrite(const fs::path& path, fs::file_time_type time) {
  const uint64_t at = read_tensors(MappedFile::open(path)).begin()->second.offset;
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(std::streamoff(at)) << "?!?!";
  file.close();
  fs::last_write_time(path, time);
}

TEST(Unchanged, EveryPartOpensAsItWasIdentified) {
  const Scene scene;
  EXPECT_EQ(scene.parts.seen.size(), 12u);
  for (const auto& [network, part] : scene.parts.networks) EXPECT_EQ(scene.opening(network), "accepted");
  EXPECT_EQ(Scene::answer([&] { open_tokenizer(scene.parts); }), "accepted");
  EXPECT_EQ(scene.computing(), "accepted");
}

TEST(Unchanged, AFileInThePlaceOfAnotherIsToldWithWhatItWasAndIs) {
  const Scene scene;
  const uint64_t before = fs::file_size(scene.at(kLow));
  std::ofstream(scene.at("new"), std::ios::binary) << std::ifstream(scene.at(kLow), std::ios::binary).rdbuf() << "x";
  fs::rename(scene.at("new"), scene.at(kLow));
  expect_words(scene.opening(Network::LowNoise),
               {"[" + kLow + "] " + kBegan, "had " + std::to_string(before) + " bytes, written 20",
                ", has " + std::to_string(before + 1) + " bytes, written 20", ": another file under the same name; ",
                "with the old file in its place the same command goes on"});
  EXPECT_EQ(scene.opening(Network::HighNoise), "accepted") << "the other parts are what they were";
  EXPECT_EQ(scene.computing(), "accepted") << "an open file stays what it is";
}

TEST(Unchanged, WritingIntoAFileIsTold) {
  const Scene scene;
  const auto time = fs::last_write_time(scene.at(kLow));
  rewrite(scene.at(kLow), time + std::chrono::seconds(1));
  expect_words(scene.opening(Network::LowNoise), {"[" + kLow + "] " + kBegan, " UTC, has "});
  expect_words(scene.computing(), {"[" + kLow + "] " + kBegan});
}

TEST(Unchanged, ATimeThatWasSetBackDoesNotHideIt) {
  const Scene scene;
  const auto time = fs::last_write_time(scene.at(kLow));
  fs::last_write_time(scene.at(kLow), time);  // another change of the entry, the same content
  EXPECT_EQ(scene.opening(Network::LowNoise), "accepted");
  fs::permissions(scene.at(kLow), fs::perms::owner_read);
  EXPECT_EQ(scene.opening(Network::LowNoise), "accepted") << "rights are no content";
  fs::permissions(scene.at(kLow), fs::perms::owner_all);
  rewrite(scene.at(kLow), time);
  expect_words(scene.opening(Network::LowNoise), {"[" + kLow + "] " + kBegan, "had the digest samples:"});
}

TEST(Unchanged, FilesThatAreGoneOrNewAreTold) {
  const Scene scene;
  fs::rename(scene.at("Wan2.1_VAE.pth"), scene.at("aside"));
  expect_words(scene.opening(Network::Vae), {"[m/Wan2.1_VAE.pth] " + kBegan, "and is gone"});
  fs::rename(scene.at("aside"), scene.at("Wan2.1_VAE.pth"));
  EXPECT_EQ(scene.opening(Network::Vae), "accepted") << "it is back";
  layouts::write_single(scene.at("high_noise_model/diffusion_pytorch_model.safetensors"),
                        layouts::kNano / "low_noise_model");
  fs::remove(scene.at("high_noise_model/diffusion_pytorch_model.safetensors.index.json"));
  expect_words(scene.opening(Network::HighNoise), {"index.json] " + kBegan, "and is gone"});
}

TEST(Unchanged, ANewIndexBesideTheFilesIsTold) {
  Scene scene;
  fs::rename(scene.at("high_noise_model/config.json"), scene.at("aside"));
  remember(scene.parts, identities(scene.parts));
  fs::rename(scene.at("aside"), scene.at("high_noise_model/config.json"));
  expect_words(scene.opening(Network::HighNoise), {"[high_noise_model/config.json] " + kBegan, "was not there then"});
}

TEST(Unchanged, TheTokenizerCountsToo) {
  const Scene scene;
  std::ofstream(scene.at("google/umt5-xxl/tokenizer.json"), std::ios::app) << " ";
  expect_words(Scene::answer([&] { open_tokenizer(scene.parts); }), {"[umt5-xxl/tokenizer.json] " + kBegan});
  EXPECT_EQ(scene.opening(Network::TextEncoder), "accepted");
}

}  // namespace
}  // namespace wan
