#include "models/weights/lora/adapter.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Float8_e4m3fn.h>
#include <c10/util/Float8_e5m2.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <stdexcept>

#include "models/files/bytes.h"
#include "models/files/error.h"
#include "models/files/json.h"

namespace wan::lora {
namespace {

constexpr const char* kEntry = "lora_adapter_metadata";
constexpr int kMostExpressions = 16;  // of one file: each is tried on every module

ModulePattern pattern_of(const std::string& key, const std::string& label) {
  try {
    return module_pattern(key);
  } catch (const std::invalid_argument&) {
    throw ModelError(label + ": " + kEntry,
                     "must have names of modules in alpha_pattern, or whole regular expressions of at most 200 bytes "
                     "without { and (?, has " +
                         printable(key) + "; write the names of the modules there");
  }
}

}  // namespace

std::optional<double> read_number(const StoredTensor& stored) {
  if (stored.coding || !stored.file || stored.elements() != 1) return std::nullopt;
  ByteReader bytes(stored.file->bytes().substr(stored.offset), stored.file->path().string());
  switch (stored.dtype) {
    case at::kFloat:
      return bytes.number<float>();
    case at::kDouble:
      return bytes.number<double>();
    case at::kHalf:
      return float(c10::Half(bytes.number<uint16_t>(), c10::Half::from_bits()));
    case at::kBFloat16:
      return float(c10::BFloat16(bytes.number<uint16_t>(), c10::BFloat16::from_bits()));
    case at::kFloat8_e4m3fn:
      return float(c10::Float8_e4m3fn(bytes.number<uint8_t>(), c10::Float8_e4m3fn::from_bits()));
    case at::kFloat8_e5m2:
      return float(c10::Float8_e5m2(bytes.number<uint8_t>(), c10::Float8_e5m2::from_bits()));
    case at::kUInt64:
      return double(bytes.number<uint64_t>());
    case at::kUInt32:
      return bytes.number<uint32_t>();
    case at::kUInt16:
      return bytes.number<uint16_t>();
    case at::kLong:
      return double(bytes.number<int64_t>());
    case at::kInt:
      return bytes.number<int32_t>();
    case at::kShort:
      return bytes.number<int16_t>();
    case at::kChar:
      return bytes.number<int8_t>();
    case at::kByte:
      return bytes.number<uint8_t>();
    default:
      return std::nullopt;
  }
}

AdapterMetadata AdapterMetadata::of(const std::map<std::string, std::string>& metadata, const std::string& label) {
  AdapterMetadata adapter;
  const auto found = metadata.find(kEntry);
  if (found == metadata.end()) return adapter;
  nlohmann::ordered_json json;  // the first pattern that fits a module counts
  try {
    json = parse_json<nlohmann::ordered_json>(found->second, {.values = 20'000});  // each name is looked for in a list
  } catch (const BrokenJson& broken) {
    throw ModelError(label + ": " + kEntry, broken.what());
  }
  const auto wrong = [&](const std::string& key) {
    throw ModelError(label + ": " + kEntry, "must have a number for " + printable(key) + "; do not use this file");
  };
  if (!json.is_object()) throw ModelError(label + ": " + kEntry, "must be an object; do not use this file");
  int expressions = 0;
  for (const auto& [key, value] : json.items()) {
    const size_t dot = key.rfind('.');
    const std::string word = dot == std::string::npos ? key : key.substr(dot + 1);
    OfPart& part = adapter.parts_[dot == std::string::npos ? "" : key.substr(0, dot)];
    if (word == "lora_alpha") {
      if (!value.is_number()) wrong(key);
      part.scaling.alpha = value.get<double>();
    } else if (word == "use_rslora" && value.is_boolean()) {
      part.scaling.rank_stabilised = value.get<bool>();
    } else if (word == "alpha_pattern" && value.is_object()) {
      for (const auto& [module, alpha] : value.items()) {
        if (!alpha.is_number()) wrong(module);
        if (!is_name(module) && ++expressions > kMostExpressions)
          throw ModelError(label + ": " + kEntry, "must have at most " + std::to_string(kMostExpressions) +
                                                      " regular expressions in alpha_pattern, has more; write the "
                                                      "names of the modules there");
        part.alphas.emplace_back(pattern_of(module, label), alpha.get<double>());
      }
    }
  }
  return adapter;
}

AdapterMetadata::Scaling AdapterMetadata::scaling(std::string_view spelled) const {
  constexpr std::string_view kPeft = "base_model.model.";
  if (spelled.starts_with(kPeft)) spelled.remove_prefix(kPeft.size());
  const std::string_view first = spelled.substr(0, spelled.find('.'));
  const bool says_part = first == "transformer" || first == "transformer_2";
  const auto own = parts_.find(says_part ? first : "transformer"), plain = parts_.find("");
  const auto found = own != parts_.end() ? own : plain;
  if (found == parts_.end()) return {};
  const std::string_view module = says_part ? spelled.substr(std::min(first.size() + 1, spelled.size())) : spelled;
  Scaling scaling = found->second.scaling;
  for (const auto& [means, alpha] : found->second.alphas)
    if (means(module)) {
      scaling.alpha = alpha;
      break;
    }
  return scaling;
}

}  // namespace wan::lora
