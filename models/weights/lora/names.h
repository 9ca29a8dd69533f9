// The names in LoRA files: which module of a network a key belongs to, and what it is of it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

/// The modules of one network under every spelling that LoRA files use: with the prefix of a program, official or
/// diffusers, with dots or flattened to underscores.
class Modules {
 public:
  /// `network`: tensors by the names of the official release, of which shapes and names count.
  explicit Modules(const StoredTensors& network);

  /// Where a key belongs: the official name of its module ("blocks.0.self_attn.q"), of a modulation that of the block
  /// or the head that it is of; and its part, DiffPlain for the difference of a modulation that is spelled as a
  /// tensor ("blocks.0.scale_shift_table.diff"). Nothing for what the network does not have.
  struct Found {
    std::string module;
    Part part;
  };
  std::optional<Found> find(const Key& key) const;

 private:
  /// Official names by their spellings.
  struct Names {
    std::map<std::string, std::string, std::less<>> dotted, flat;
    void add(const std::string& spelled, const std::string& official);
    std::optional<std::string> find(std::string_view spelled) const;
  };
  Names modules_, holders_, modulations_;
};

/// How a file spells its modules: "official", "diffusers", "flattened".
std::string_view spelling(std::string_view module);

/// Why a module that Wan 2.2 does not have is left out without harm; empty where it is not known to be harmless.
std::string_view exemption(std::string_view spelled);
/// Whether a module is one of a text encoder.
bool is_of_text_encoder(std::string_view spelled);

/// The family of another network ("Flux") whose names are among the keys; empty where none is known.
std::string_view family_of(const std::vector<std::string>& keys);

/// The parts of a file of diffusers for two experts: "transformer." is the high-noise one's, "transformer_2." the
/// low-noise one's.
enum class Half { High, Low };
struct Halves {
  bool high = false, low = false;  // of both experts; "transformer." alone tells nothing

  bool both() const { return high && low; }
};
Halves halves_of(const StoredTensors& tensors);
/// What a file has for one expert: all of a file that is not for two.
StoredTensors half_of(StoredTensors tensors, Half half);

}  // namespace wan::lora
