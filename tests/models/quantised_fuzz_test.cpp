// Quantised checkpoints with damaged and rearranged headers: each loads or is refused, and takes bounded time and memory.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "models/files/error.h"
#include "tests/models/quantised.h"

namespace wan::quantised {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// A safetensors file in its two parts.
struct Split {
  std::string header, data;
};

Split split(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  return {bytes.substr(8, length), bytes.substr(8 + length)};
}

std::vector<Split> samples() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(fs::path(WAN_SOURCE_DIR) / "tests/formats/fp8"))
    if (entry.path().string().find(".expected.") == std::string::npos) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Split> all;
  for (const fs::path& path : paths) all.push_back(split(path));
  return all;
}

class Mutator {
 public:
  Split operator()(Split file) {
    if (below(4) == 0)
      damage(file.header);
    else
      rearrange(file.header);
    if (below(4) == 0) damage(file.data.empty() ? file.header : file.data, /*keep_size=*/true);
    return file;
  }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  template <typename List>
  auto& any(List& list) {
    return *std::next(std::begin(list), int64_t(below(std::size(list))));
  }

  /// Flips, cuts or doubles bytes.
  void damage(std::string& text, bool keep_size = false) {
    const size_t at = below(text.size()), length = std::min<size_t>(1 + below(40), text.size() - at);
    const uint64_t kind = keep_size ? 0 : below(3);
    if (kind == 0) text[at] = char(text[at] ^ (1 << below(8)));
    if (kind == 1) text.erase(at, length);
    if (kind == 2) text.insert(at, text.substr(at, length));
  }

  /// Changes that leave a header which the format itself allows: other names, types and shapes for the same bytes.
  void rearrange(std::string& header) {
    Json json = Json::parse(header);
    for (uint64_t i = 1 + below(3); i > 0; --i) change(json);
    header = json.dump();
  }

  void change(Json& json) {
    static constexpr const char* kLeaves[] = {
        "weight",       "weight_scale",  "scale_weight",       "weight_scale_2", "input_scale",
        "comfy_quant",  "alpha",         "input_global_scale", "input_absmax",   "weight_global_scale",
        "weight._data", "weight._scale", "pre_quant_scale",    "bias",           "output_scale"};
    static constexpr const char* kTypes[] = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "U8", "I8", "BOOL"};
    static constexpr const char* kWide[] = {"F16", "BF16", "I16", "F32", "I32", "F64"};
    static constexpr const char* kFormats[] = {"float8_e4m3fn", "float8_e5m2", "int8_tensorwise",
                                               "mxfp8",         "nvfp4",       "int4"};
    Json::iterator entry = std::next(json.begin(), int64_t(below(json.size())));
    const std::string name = entry.key(), layer = name.substr(0, name.find_last_of('.'));
    switch (below(6)) {
      case 0:
        rename(json, name, layer + "." + any(kLeaves));
        break;
      case 1:
        if (entry->contains("dtype")) entry->at("dtype") = below(4) ? any(kTypes) : any(kWide);
        break;
      case 2:
        if (entry->contains("shape")) reshape(entry->at("shape"));
        break;
      case 3:
        rename(json, name, below(2) ? "model." + name : "model.diffusion_model." + name);
        break;
      case 4:
        rename(json, name, "scaled_fp8");
        break;
      default:
        json["__metadata__"]["_quantization_metadata"] =
            R"({"layers": {")" + layer + R"(": {"format": ")" + any(kFormats) + R"(", "convrot": )" +
            (below(2) ? "true" : "false") + R"(, "convrot_groupsize": )" + std::to_string(1 << below(12)) + "}}}";
    }
  }

  static void rename(Json& json, const std::string& name, const std::string& other) {
    if (json.contains(other)) return;
    Json value = json.at(name);
    json.erase(name);
    json[other] = std::move(value);
  }

  void reshape(Json& shape) {
    if (shape.empty() || below(3) == 0) {
      shape.push_back(1);
    } else if (below(2)) {
      std::reverse(shape.begin(), shape.end());
    } else {
      int64_t product = 1;
      for (const auto& size : shape) product *= size.get<int64_t>();
      shape = below(2) ? Json{product} : Json{1, product};
    }
  }

  std::mt19937_64 random_{2026};
};

double peak_megabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

void write(const fs::path& path, const Split& file) {
  const uint64_t length = file.header.size();
  fs::remove(path);  // rewriting a file in place waits for the disk
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(&length), sizeof length)
      << file.header << file.data;
}

}  // namespace

TEST(QuantisedFuzz, AMutantLoadsOrIsRefused) {
  constexpr int kMutants = 2000;
  const std::vector<Split> all = samples();
  ASSERT_EQ(all.size(), 16u);
  Files files;
  Mutator mutate;
  int loaded = 0, by_quantisation = 0;
  const double before = peak_megabytes();
  for (int i = 0; i < kMutants; ++i) {
    const Split mutant = mutate(all[size_t(i) % all.size()]);
    write(files.path(), mutant);
    try {
      const Checkpoint file = files.open();
      for (const auto& [name, tensor] : file.tensors())
        ASSERT_EQ(file.map(name).sizes(), at::IntArrayRef(tensor.shape));
      ++loaded;
    } catch (const ModelError& error) {
      by_quantisation += std::string(error.what()).find("scale") != std::string::npos;
    } catch (const std::exception& error) {
      FAIL() << "mutant " << i << ": " << error.what() << "\n" << mutant.header;
    }
  }
  EXPECT_GT(loaded, kMutants / 10) << "mutants are too broken to reach values";
  EXPECT_GT(by_quantisation, kMutants / 10) << "mutants are too broken to reach scales";
  EXPECT_LT(peak_megabytes() - before, 100);
}

}  // namespace wan::quantised
