#include "models/weights/lora/adapter.h"

#include "models/files/error.h"
#include "models/files/json.h"

namespace wan::lora {
namespace {

constexpr const char* kEntry = "lora_adapter_metadata";

/// Whether `module` is the one that a key of PEFT's patterns means: it, or one whose last names are the key's.
bool is_meant(std::string_view module, std::string_view key) {
  return module == key ||
         (module.size() > key.size() && module.ends_with(key) && module[module.size() - key.size() - 1] == '.');
}

}  // namespace

Adapter Adapter::of(const std::map<std::string, std::string>& metadata, const std::string& label) {
  Adapter adapter;
  const auto found = metadata.find(kEntry);
  if (found == metadata.end()) return adapter;
  nlohmann::json json;
  try {
    json = parse_json(found->second);
  } catch (const BrokenJson& broken) {
    throw ModelError(label + ": " + kEntry, broken.what());
  }
  const auto wrong = [&](const std::string& key) {
    throw ModelError(label + ": " + kEntry, "must have a number for " + printable(key) + "; do not use this file");
  };
  if (!json.is_object()) throw ModelError(label + ": " + kEntry, "must be an object; do not use this file");
  for (const auto& [key, value] : json.items()) {
    const size_t dot = key.rfind('.');
    const std::string word = dot == std::string::npos ? key : key.substr(dot + 1);
    if (word == "lora_alpha") {
      if (!value.is_number()) wrong(key);
      adapter.alpha_ = value.get<double>();
    } else if (word == "use_rslora" && value.is_boolean()) {
      adapter.rank_stabilised_ = value.get<bool>();
    } else if (word == "alpha_pattern" && value.is_object()) {
      for (const auto& [module, alpha] : value.items()) {
        if (!alpha.is_number()) wrong(module);
        adapter.alphas_[module] = alpha.get<double>();
      }
    }
  }
  return adapter;
}

std::optional<double> Adapter::alpha(std::string_view module) const {
  for (const auto& [key, alpha] : alphas_)
    if (is_meant(module, key)) return alpha;
  return alpha_;
}

}  // namespace wan::lora
