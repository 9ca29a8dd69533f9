#include "models/weights/lora/keys.h"

#include <algorithm>
#include <optional>
#include <set>

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

/// "image tokens of Wan 2.1, ...": the reasons, each once.
std::string reasons(const std::map<std::string, std::string>& exempt) {
  std::set<std::string> each;
  for (const auto& [key, reason] : exempt) each.insert(reason);
  std::string out;
  for (const std::string& reason : each) out += (out.empty() ? "" : "; ") + reason;
  return out;
}

}  // namespace

std::string tensor_of(const std::string& module, Part part) {
  if (part == Part::DiffBias) return module + ".bias";
  if (part == Part::DiffPlain) return module + ".modulation";
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
    const std::optional<Modules::Found> found = split ? modules.find(*split) : std::nullopt;
    if (!found) {
      sorted.unknown.push_back(key);
      continue;
    }
    if (split->part == Part::Replacement)
      throw ModelError(
          label + ": " + printable(key),
          "replaces a weight instead of adding to it, which is not supported; use a LoRA without set_weight");
    ModuleKeys& at = sorted.modules[found->module];
    if (!at.keys.emplace(found->part, key).second)
      throw ModelError(label + ": " + printable(key), "says the same as " + printable(at.keys.at(found->part)) +
                                                          "; use a file that names each module once");
    at.spelled = split->module;
    ++spellings[std::string(spelling(split->module))];
  }
  for (const auto& [spelling, count] : spellings)
    if (sorted.dialect.empty() || count > spellings[sorted.dialect]) sorted.dialect = spelling;
  return sorted;
}

bool of_text_encoder_alone(const SortedKeys& keys) {
  return keys.modules.empty() && keys.exempt.empty() && keys.of_text_encoder > 0 &&
         keys.of_text_encoder == keys.unknown.size();
}

void check_keys(const SortedKeys& keys, bool lax, const std::string& label) {
  if (keys.modules.empty() && keys.exempt.empty() && keys.unknown.empty())
    throw ModelError(label, "must be a LoRA of a Wan 2.2 transformer, holds no tensors; download it again");
  if (of_text_encoder_alone(keys))
    throw ModelError(
        label,
        "must change the transformer, changes a text encoder alone, whose LoRAs are not used with Wan 2.2; "
        "leave it out, or take one of the transformer");
  const std::string_view family = family_of(keys.unknown);
  if (keys.modules.empty() && !keys.unknown.empty() && !family.empty())
    throw ModelError(label, "must be a LoRA of a Wan 2.2 transformer, is one of another network: " +
                                std::string(family) + " (" + some(keys.unknown) + ")");
  if (keys.modules.empty() && keys.exempt.empty())
    throw ModelError(label, "must be a LoRA of a Wan 2.2 transformer, has no key of one (" + some(keys.unknown) +
                                "); is it a checkpoint, or a LoRA of another network?");
  if (!lax && !keys.unknown.empty())
    throw ModelError(label, "has keys that this network has no place for" +
                                (family.empty() ? "" : ", as of " + std::string(family)) + ": " + some(keys.unknown) +
                                "; --lora-lax leaves them out");
  if (keys.modules.empty())
    throw ModelError(label, "must change the transformer, changes nothing in this model: all its keys are left out (" +
                                reasons(keys.exempt) + ")");
}

}  // namespace wan::lora
