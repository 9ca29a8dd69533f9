#include "models/weights/quantised/one_network.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "models/files/error.h"
#include "models/weights/quantised/layers.h"

namespace wan {
namespace {

constexpr std::string_view kPrefixes[] = {"model.diffusion_model.", "diffusion_model.", "model.", "net.", "module."};
constexpr std::string_view kCombined = kPrefixes[0];  // of the transformer in a file of several networks
constexpr std::string_view kOthers[] = {"vae",         "first_stage_model", "text_encoders", "cond_stage_model",
                                        "conditioner", "clip_vision"};

bool bears(std::string_view name, std::string_view prefix) {
  return name.size() > prefix.size() && name.starts_with(prefix);
}

/// The first word of a name of another network; empty for any other name.
std::string_view other_network(std::string_view name) {
  const std::string_view word = name.substr(0, name.find('.'));
  const bool known =
      word.size() < name.size() && std::find(std::begin(kOthers), std::end(kOthers), word) != std::end(kOthers);
  return known ? word : std::string_view();
}

/// The prefix of the network; empty where not all names agree.
std::string_view common_prefix(const StoredTensors& tensors) {
  for (const std::string_view prefix : kPrefixes) {
    bool some = false;
    const bool all = std::all_of(tensors.begin(), tensors.end(), [&](const auto& entry) {
      const bool own = bears(entry.first, prefix);
      some |= own;
      return own || entry.first == kScaledMarker || (prefix == kCombined && !other_network(entry.first).empty());
    });
    if (some && all) return prefix;
  }
  return {};
}

}  // namespace

OneNetwork one_network(StoredTensors tensors, const std::string& label) {
  OneNetwork network;
  network.prefix = common_prefix(tensors);
  if (network.prefix.empty()) {
    network.tensors = std::move(tensors);
    return network;
  }
  std::set<std::string> left_out;
  for (auto& [name, tensor] : tensors) {
    if (!bears(name, network.prefix) && name != kScaledMarker) {
      left_out.emplace(other_network(name));
      continue;
    }
    const std::string own = bears(name, network.prefix) ? name.substr(network.prefix.size()) : name;
    if (!network.tensors.emplace(own, std::move(tensor)).second)
      throw ModelError(label + ": " + printable(name),
                       "must be there once, is there with and without " + network.prefix + "; do not use this file");
  }
  network.left_out.assign(left_out.begin(), left_out.end());
  return network;
}

}  // namespace wan
