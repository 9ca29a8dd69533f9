// Which network a checkpoint holds, told from the names and shapes of its tensors alone.
#pragma once

#include <optional>
#include <string>

#include "models/weights/stored_tensor.h"

namespace wan {

/// The networks that this program runs. One of two experts is not told from the other, nor Wan 2.2's text expert from
/// the 14B text-to-video model of Wan 2.1: names and shapes are the same, and only names of files or folders differ.
enum class Model { TextExpert, ImageExpert, Speech, TextEncoder, Vae, AudioEncoder };

/// What a checkpoint is that holds no Model.
enum class Other {
  Network,  // one that this program does not run, and several networks in one file
  Lora,     // changes to the weights of a network
  Unknown,  // nothing that is known
};

/// What a checkpoint was found to be.
struct Recognised {
  std::optional<Model> model;  // nothing: none that this program runs
  /// What messages and listings call it: "image-to-video transformer", "Wan 2.2 TI2V-5B transformer", "LoRA",
  /// "unknown network".
  std::string name;
  Other other = Other::Network;  // where `model` is nothing
};

/// `tensors` by whatever names their file has, without a prefix that all share. Reads nothing. A network of any width
/// and depth is recognised by its structure.
Recognised recognise(const StoredTensors& tensors);

/// The same tensors by the names of the official release. What is known to be no weight of the network (a tokenizer's
/// file, an alias, heads for other uses) is left out; names that the network does not know stay. Axes that GGUF writers
/// leave out come back, here and not where weights are taken: sizes read off shapes, streamed blocks and weights then
/// see one shape. Throws ModelError naming `label` where two names become one.
StoredTensors official_names(StoredTensors tensors, Model model, const std::string& label);

}  // namespace wan
