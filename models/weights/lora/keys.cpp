#include "models/weights/lora/keys.h"

#include <algorithm>
#include <optional>

#include "models/files/error.h"

namespace wan::lora {
namespace {

/// "a, b, ... (12 in all)".
std::string some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) out += (i ? ", " : "") + printable(names[i]);
  return names.size() > kShown ? out + ", ... (" + std::to_string(names.size()) + " in all)" : out;
}

/// Modulations are no modules: what stands before ".diff_m" is the block or the head that they belong to.
std::optional<std::string> module_of(const Key& key, const Modules& modules, const StoredTensors& network) {
  if (key.part != Part::DiffPlain) return modules.find(key.module);
  for (std::string_view rest = key.module;;) {
    if (network.contains(tensor_of(std::string(rest), Part::DiffPlain))) return std::string(rest);
    const size_t dot = rest.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    rest = rest.substr(dot + 1);
  }
}

}  // namespace

std::string tensor_of(const std::string& module, Part part) {
  if (part == Part::DiffBias) return module + ".bias";
  if (part == Part::DiffPlain) return (module.empty() ? "" : module + ".") + "modulation";
  return module + ".weight";
}

SortedKeys sort_keys(const StoredTensors& tensors, const StoredTensors& network, const std::string& label) {
  const Modules modules(network);
  SortedKeys sorted;
  std::map<std::string, size_t> spellings;
  for (const auto& [key, tensor] : tensors) {
    const std::optional<Key> split = lora::split(key);
    if (const std::string_view reason = exemption(key); !reason.empty()) {
      sorted.exempt[key] = reason;
      continue;
    }
    if (is_of_text_encoder(key)) ++sorted.of_text_encoder;
    const std::optional<std::string> module = split ? module_of(*split, modules, network) : std::nullopt;
    if (!module) {
      sorted.unknown.push_back(key);
      continue;
    }
    if (split->part == Part::Replacement)
      throw ModelError(label + ": " + printable(key),
                       "replaces a weight instead of adding to it, which is not supported; use a LoRA without set_weight");
    ModuleKeys& at = sorted.modules[*module];
    if (!at.keys.emplace(split->part, key).second)
      throw ModelError(
          label + ": " + printable(key),
          "says the same as " + printable(at.keys.at(split->part)) + "; use a file that names each module once");
    at.spelled = split->module;
    ++spellings[std::string(spelling(split->module))];
  }
  for (const auto& [spelling, count] : spellings)
    if (sorted.dialect.empty() || count > spellings[sorted.dialect]) sorted.dialect = spelling;
  return sorted;
}

void check_keys(const SortedKeys& keys, bool lax, const std::string& label) {
  if (keys.modules.empty() && keys.of_text_encoder > 0)
    throw ModelError(label,
                     "must change the transformer, changes a text encoder alone; this program has no use for it");
  if (keys.modules.empty() && keys.exempt.empty())
    throw ModelError(label, "must be a LoRA of a Wan 2.2 transformer, has no key of one (" + some(keys.unknown) +
                                "); is it a checkpoint, or a LoRA of another network?");
  if (!lax && !keys.unknown.empty())
    throw ModelError(label, "has keys that this network has no place for: " + some(keys.unknown) +
                                "; --lora-lax leaves them out");
}

}  // namespace wan::lora
