#include "tests/fuzz/rearrange.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

namespace wan::fuzz {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kLeaves[] = {
    "weight",       "weight_scale",  "scale_weight",       "weight_scale_2", "input_scale",
    "comfy_quant",  "alpha",         "input_global_scale", "input_absmax",   "weight_global_scale",
    "weight._data", "weight._scale", "pre_quant_scale",    "bias",           "output_scale"};
constexpr const char* kTypes[] = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "U8", "I8", "BOOL"};
constexpr const char* kWide[] = {"F16", "BF16", "I16", "F32", "I32", "F64"};
constexpr const char* kFormats[] = {"float8_e4m3fn", "float8_e5m2", "int8_tensorwise", "mxfp8", "nvfp4", "int4"};

class Header {
 public:
  Header(Json& json, std::mt19937_64& random) : json_(json), random_(random) {}

  void change() {
    Json::iterator entry = std::next(json_.begin(), int64_t(below(json_.size())));
    const std::string name = entry.key(), layer = name.substr(0, name.find_last_of('.'));
    switch (below(6)) {
      case 0:
        return rename(name, layer + "." + any(kLeaves));
      case 1:
        if (entry->contains("dtype")) entry->at("dtype") = below(4) ? any(kTypes) : any(kWide);
        return;
      case 2:
        if (entry->contains("shape")) reshape(entry->at("shape"));
        return;
      case 3:
        return rename(name, below(2) ? "model." + name : "model.diffusion_model." + name);
      case 4:
        return rename(name, "scaled_fp8");
      default:
        json_["__metadata__"]["_quantization_metadata"] =
            R"({"layers": {")" + layer + R"(": {"format": ")" + any(kFormats) + R"(", "convrot": )" +
            (below(2) ? "true" : "false") + R"(, "convrot_groupsize": )" + std::to_string(1 << below(12)) + "}}}";
    }
  }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  template <size_t kCount>
  const char* any(const char* const (&list)[kCount]) {
    return list[below(kCount)];
  }

  void rename(const std::string& name, const std::string& other) {
    if (json_.contains(other)) return;
    Json value = json_.at(name);
    json_.erase(name);
    json_[other] = std::move(value);
  }

  void reshape(Json& shape) {
    if (shape.empty() || below(3) == 0) return shape.push_back(1);
    if (below(2)) return std::reverse(shape.begin(), shape.end());
    int64_t product = 1;
    for (const auto& size : shape) product *= size.get<int64_t>();
    shape = below(2) ? Json{product} : Json{1, product};
  }

  Json& json_;
  std::mt19937_64& random_;
};

}  // namespace

std::string rearranged(const std::string& file, std::mt19937_64& random) {
  uint64_t length = 0;
  if (file.size() < sizeof length) return file;
  std::memcpy(&length, file.data(), sizeof length);
  if (length > file.size() - sizeof length) return file;
  Json json = Json::parse(file.substr(sizeof length, length), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.empty()) return file;
  for (uint64_t i = 1 + random() % 3; i > 0; --i) Header(json, random).change();
  const std::string header = json.dump(), data = file.substr(sizeof length + length);
  length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

}  // namespace wan::fuzz
