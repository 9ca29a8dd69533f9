// The tensors of a checkpoint that are no weights and say what the codes of a weight are worth, gathered by layer.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "models/weights/quantised/layer_mark.h"
#include "models/weights/stored_tensor.h"

namespace wan {

/// What a tensor beside the weight of its layer is.
enum class Beside {
  Scale,              // weight_scale, scale_weight, weight._scale: of the weight
  TensorScale,        // weight_scale_2: one more, of the whole weight
  Alpha,              // alpha: of the product; of NVFP4 by LightX2V alone
  InputGlobalScale,   // input_global_scale, likewise
  InputAbsmax,        // input_absmax, likewise
  WeightGlobalScale,  // weight_global_scale, likewise
  InputScale,         // input_scale, scale_input: of activations in codes; no matter for the weight
  OutputScale,        // output_scale, likewise
  Marker,             // comfy_quant: JSON
  Unreadable,         // makes the weight something else than this program computes
};

/// A tensor with its name.
struct NamedTensor {
  std::string name;
  StoredTensor tensor;
};

/// What lies beside the weight NAME.weight.
struct QuantisedLayer {
  std::map<Beside, NamedTensor> beside;
  std::optional<LayerMark> mark;  // of the file's metadata, or of comfy_quant

  const NamedTensor* find(Beside part) const;
};

/// All that lies beside weights.
struct QuantisedLayers {
  std::map<std::string, QuantisedLayer> layers;  // by NAME; empty for a weight at the top
  std::optional<StoredTensor> scaled_marker;     // kScaledMarker
};

/// A tensor of an older ComfyUI file, whose dtype is that of its scaled weights.
inline constexpr std::string_view kScaledMarker = "scaled_fp8";

/// The weight of a layer: "blocks.0.ffn.0.weight".
std::string weight_of(const std::string& layer);

/// Takes such tensors out of `tensors` and calls a weight by quanto, NAME.weight._data, NAME.weight. Reads nothing.
/// Throws ModelError about `label` where two tensors of a layer say the same thing, or one says what cannot be
/// computed.
QuantisedLayers take_layers(StoredTensors& tensors, const std::string& label);

}  // namespace wan
