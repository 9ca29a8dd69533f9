#include "models/weights/quantised/layers.h"

#include <algorithm>

#include "models/files/error.h"

namespace wan {
namespace {

struct Suffix {
  std::string_view text;
  Beside part;
};

constexpr Suffix kSuffixes[] = {{"weight_scale", Beside::Scale},
                                {"scale_weight", Beside::Scale},
                                {"weight._scale", Beside::Scale},
                                {"weight_scale_2", Beside::TensorScale},
                                {"alpha", Beside::Alpha},
                                {"input_global_scale", Beside::InputGlobalScale},
                                {"input_absmax", Beside::InputAbsmax},
                                {"weight_global_scale", Beside::WeightGlobalScale},
                                {"input_scale", Beside::InputScale},
                                {"scale_input", Beside::InputScale},
                                {"output_scale", Beside::OutputScale},
                                {"comfy_quant", Beside::Marker},
                                {"pre_quant_scale", Beside::Unreadable},
                                {"weight_scale_inv", Beside::Unreadable},
                                {"weight_zero_point", Beside::Unreadable},
                                {"weight._shift", Beside::Unreadable},
                                {"weight_quantizer._scale", Beside::Unreadable},
                                {"weight_quantizer._amax", Beside::Unreadable}};
constexpr std::string_view kQuantoData = ".weight._data";

bool is_of(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  return name.size() == suffix.size() || name[name.size() - suffix.size() - 1] == '.';
}

std::string layer_of(std::string_view name, std::string_view suffix) {
  return std::string(name.substr(0, name.size() - std::min(name.size(), suffix.size() + 1)));
}

/// `alpha` is also the name of a LoRA's factor and of a VAE's parameter.
bool is_packed(const StoredTensors& tensors, const std::string& layer) {
  const auto weight = tensors.find(weight_of(layer));
  return weight != tensors.end() && weight->second.dtype == at::kByte;
}

const Suffix* suffix_of(const StoredTensors& tensors, std::string_view name) {
  for (const Suffix& suffix : kSuffixes)
    if (is_of(name, suffix.text))
      return suffix.part == Beside::Alpha && !is_packed(tensors, layer_of(name, suffix.text)) ? nullptr : &suffix;
  return nullptr;
}

void rename_quanto(StoredTensors& tensors, const std::string& label) {
  for (auto entry = tensors.begin(); entry != tensors.end();) {
    const auto next = std::next(entry);
    if (entry->first.ends_with(kQuantoData)) {
      const std::string name = entry->first;
      auto node = tensors.extract(entry);
      node.key() = weight_of(name.substr(0, name.size() - kQuantoData.size()));
      if (!tensors.insert(std::move(node)).inserted)
        throw ModelError(label + ": " + printable(name), "must be the only weight of its layer; do not use this file");
    }
    entry = next;
  }
}

void add(QuantisedLayer& layer, Beside part, NamedTensor tensor, const std::string& label) {
  const std::string subject = label + ": " + printable(tensor.name);
  if (part == Beside::Unreadable)
    throw ModelError(subject, "belongs to a quantisation that is not read; take a file of another one, as fp8 scaled");
  const auto [other, added] = layer.beside.emplace(part, std::move(tensor));
  if (!added)
    throw ModelError(subject, "must be the only one of its layer, " + printable(other->second.name) +
                                  " says the same; do not use this file");
}

}  // namespace

const NamedTensor* QuantisedLayer::find(Beside part) const {
  const auto found = beside.find(part);
  return found == beside.end() ? nullptr : &found->second;
}

std::string weight_of(const std::string& layer) {
  return layer.empty() ? "weight" : layer + ".weight";
}

QuantisedLayers take_layers(StoredTensors& tensors, const std::string& label) {
  QuantisedLayers taken;
  rename_quanto(tensors, label);
  for (auto entry = tensors.begin(); entry != tensors.end();) {
    const auto next = std::next(entry);
    const std::string& name = entry->first;
    if (name == kScaledMarker) {
      taken.scaled_marker = std::move(entry->second);
      tensors.erase(entry);
    } else if (const Suffix* suffix = suffix_of(tensors, name)) {
      QuantisedLayer& layer = taken.layers[layer_of(name, suffix->text)];
      add(layer, suffix->part, {name, std::move(entry->second)}, label);
      tensors.erase(entry);
    }
    entry = next;
  }
  return taken;
}

}  // namespace wan
