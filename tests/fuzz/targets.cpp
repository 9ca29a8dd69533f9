#include "tests/fuzz/targets.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "tests/fuzz/rearrange.h"

namespace wan::fuzz {
namespace {

namespace fs = std::filesystem;

/// The files of "folder/*.ending" or "folder/name", by name.
std::vector<fs::path> files_of(const std::string& pattern) {
  const fs::path path = fs::path(WAN_SOURCE_DIR) / pattern;
  std::vector<fs::path> files;
  if (path.stem() != "*") files.push_back(path);
  if (path.stem() == "*")
    for (const auto& entry : fs::directory_iterator(path.parent_path()))
      if (entry.is_regular_file() && entry.path().extension() == path.extension()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// A small file may state a large picture: kMostImagePixels in RGB, as decoded and once more where they are turned.
constexpr double kPictureMegabytes = 3 * 3 * 200;

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("[" + path.string() + "] must be a seed of a fuzz target, cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all = {
      {"checksums", checksums, {"tests/fuzz/seeds/checksums/*.txt"}},
      {"gguf", gguf, {"tests/formats/gguf/*.gguf", "tests/formats/gguf_bad/*.gguf", "tests/golden/gguf/*.gguf"}},
      {"json", json, {"tests/fuzz/seeds/json/*.json"}},
      {"lora", lora, {"tests/formats/lora/*.safetensors"}},
      {"model_sets", model_sets, {"tests/fuzz/seeds/model_sets/*.json"}},
      {"modelopt", modelopt, {"tests/fuzz/seeds/modelopt/*.json"}},
      {"pickle",
       pickle,
       {"tests/formats/pickle/*.pkl", "tests/formats/pickle_bad/*.pth", "tests/fuzz/seeds/torchscript/*.pt"}},
      {"picture",
       picture,
       {"tests/golden/media/*.png", "tests/golden/media/*.tiff", "tests/golden/media/*.heic",
        "tests/golden/media/*.avif", "tests/golden/media/*.gif", "tests/golden/media/*.webp",
        "tests/golden/media/*.jpg", "tests/golden/media/*.jp2"},
       kPictureMegabytes},
      {"pth",
       pth,
       {"tests/formats/pickle/*.pth", "tests/formats/pickle_bad/*.pth", "tests/fuzz/seeds/torchscript/*.pt"}},
      {"quantised", quantised, {"tests/formats/fp8/*.safetensors"}, 200, rearranged},
      {"safetensors",
       safetensors,
       {"tests/formats/safetensors_ok/*.safetensors", "tests/formats/safetensors_bad/*.safetensors"}},
      {"sentencepiece", sentencepiece, {"tests/fuzz/seeds/sentencepiece/*.model"}},
      {"shards", shards, {"tests/fuzz/seeds/shards/*.json"}},
      {"tokenizer_json", tokenizer_json, {"tests/fuzz/seeds/tokenizer_json/*.json"}},
      {"zip",
       zip,
       {"tests/formats/pickle/*.pth", "tests/formats/pickle_bad/*.pth", "tests/fuzz/seeds/torchscript/*.pt"}},
  };
  return all;
}

const Target* find_target(std::string_view name) {
  for (const Target& target : targets())
    if (target.name == name) return &target;
  return nullptr;
}

std::vector<std::string> seeds_of(const Target& target) {
  std::vector<std::string> seeds;
  for (const std::string& pattern : target.seeds) {
    const std::vector<fs::path> files = files_of(pattern);
    if (files.empty()) throw std::runtime_error("[" + pattern + "] must be seeds of a fuzz target, no file fits");
    for (const fs::path& file : files) seeds.push_back(content_of(file));
  }
  return seeds;
}

}  // namespace wan::fuzz
