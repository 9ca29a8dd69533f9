// Which network a checkpoint holds, told from the names and shapes of its tensors alone.
#pragma once

#include <optional>
#include <string>

#include "models/weights/stored_tensor.h"

namespace wan {

/// The networks that this program runs.
enum class Model { TextExpert, ImageExpert, Speech, TextEncoder, Vae, AudioEncoder };

/// What a checkpoint was found to be.
struct Recognised {
  std::optional<Model> model;  // nothing: none that this program runs
  /// What messages and listings call it: "image-to-video transformer", "Wan 2.2 TI2V-5B", "LoRA", "unknown network".
  std::string name;
};

/// `tensors` by whatever names their file has, without a prefix that all share. Reads nothing.
Recognised recognise(const StoredTensors& tensors);

/// The same tensors by the names of the official release. Names that the network does not know stay. Throws ModelError
/// naming `label` where two names become one.
StoredTensors official_names(StoredTensors tensors, Model model, const std::string& label);

}  // namespace wan
