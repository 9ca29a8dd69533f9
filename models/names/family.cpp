#include "models/names/family.h"

#include <algorithm>

#include "models/names/shapes.h"

namespace wan::names {
namespace {

std::string official_name(std::string_view name, const Naming& naming) {
  std::string translated(name);
  for (const Table& table : naming.tables) translated = translate(translated, table);
  return translated;
}

void drop(StoredTensors& tensors, const Family& family) {
  std::erase_if(tensors, [&](const auto& entry) {
    return std::any_of(family.dropped.begin(), family.dropped.end(),
                       [&](std::string_view path) { return match(entry.first, path).has_value(); });
  });
  for (const Alias& alias : family.aliases) {
    const auto found = tensors.find(std::string(alias.path)), original = tensors.find(std::string(alias.of));
    if (found != tensors.end() && original != tensors.end() && found->second.shape == original->second.shape)
      tensors.erase(found);
  }
}

/// A kernel over time [out, in, t, h, w] whose writer knew four axes at most: [out * in, t, h, w].
void split_joined_kernel(const std::string& name, StoredTensor& tensor, const StoredTensors& all) {
  constexpr std::string_view kWeight = "weight";
  if (tensor.shape.size() != 4 || !name.ends_with(kWeight)) return;
  const int64_t out = axis(all, name.substr(0, name.size() - kWeight.size()) + "bias", 0);
  if (out > 0 && tensor.shape[0] > out && tensor.shape[0] % out == 0) split_first_axis(tensor, out);
}

/// Scales of parts are for the rows of the axes that the file has. Gives back the first tensor with such scales that
/// needs others, which keeps its axes; else empty.
std::string restore_axes(StoredTensors& tensors, const Family& family) {
  std::string with_scales;
  for (auto& [name, tensor] : tensors) {
    StoredTensor restored = tensor;
    split_joined_kernel(name, restored, tensors);
    for (const Rank& rank : family.ranks)
      if (const auto found = match(name, rank.name); found && found->rest.empty())
        add_leading_ones(restored, rank.axes);
    const bool scaled = tensor.scales && tensor.scales->blocks;
    if (restored.shape == tensor.shape || !scaled)
      tensor = std::move(restored);
    else if (with_scales.empty())
      with_scales = name;
  }
  return with_scales;
}

}  // namespace

Official official(StoredTensors tensors, const Family& family) {
  drop(tensors, family);
  const auto naming = std::find_if(family.namings.begin(), family.namings.end(),
                                   [&](const Naming& naming) { return has(tensors, naming.mark); });
  Official result;
  if (naming == family.namings.end()) {
    result.tensors = std::move(tensors);
  } else {
    for (auto& [name, tensor] : tensors) {
      const auto [entry, is_new] = result.tensors.emplace(official_name(name, *naming), std::move(tensor));
      if (!is_new && result.twice.empty()) result.twice = entry->first;
    }
  }
  result.scaled = restore_axes(result.tensors, family);
  return result;
}

}  // namespace wan::names
