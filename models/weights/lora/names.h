// The names in LoRA files: which module of a network a key belongs to, and what it is of it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "models/weights/stored_tensor.h"

namespace wan::lora {

/// What a key's tensor is, by its ending.
enum class Part {
  Down,       // A [r, in]
  Up,         // B [out, r]
  Mid,        // between the two, of convolutions
  Alpha,      // the scale is alpha / r
  DoraScale,  // magnitudes of rows or columns
  Diff,       // added to the weight
  DiffBias,   // added to the bias
  DiffPlain,  // added to a tensor without a suffix: a modulation
  W1,         // LoKr: the first factor whole, or W1A W1B
  W1A,
  W1B,
  W2,
  W2A,
  W2B,
  Hada1A,  // LoHa: (1A 1B) * (2A 2B)
  Hada1B,
  Hada2A,
  Hada2B,
  Tucker,       // the core of a LoHa or LoKr of convolutions
  Replacement,  // set_weight, reshape_weight: replaces instead of adding
};

/// A key, split into its module as it is spelled there and its part.
struct Key {
  std::string_view module;
  Part part;
};
/// Nothing for an ending that no dialect has.
std::optional<Key> split(std::string_view key);

/// The modules of one network under every spelling that LoRA files use.
class Modules {
 public:
  /// `network`: tensors by the names of the official release, of which shapes and names count.
  explicit Modules(const StoredTensors& network);
  /// The official name of a module ("blocks.0.self_attn.q") from a key's spelling: with the prefix of a program, official or
  /// diffusers, with dots or flattened to underscores. Nothing for what the network does not have.
  std::optional<std::string> find(std::string_view spelled) const;

 private:
  std::map<std::string, std::string, std::less<>> dotted_, flat_;
};

/// How a file spells its modules: "official", "diffusers", "flattened".
std::string_view spelling(std::string_view module);

/// Why a module that Wan 2.2 does not have is left out without harm; empty where it is not known to be harmless.
std::string_view exemption(std::string_view spelled);
/// Whether a module is one of a text encoder.
bool is_of_text_encoder(std::string_view spelled);

}  // namespace wan::lora
