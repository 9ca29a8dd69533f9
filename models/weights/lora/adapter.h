// Alphas: what diffusers writes about a LoRA into its file's metadata, and tensors of one number.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "models/weights/stored_tensor.h"

namespace wan::lora {

/// The one number of a tensor of any float or integer type, from the mapped file; nothing for another tensor.
std::optional<double> read_number(const StoredTensor& stored);

/// `__metadata__.lora_adapter_metadata` of a file, for one of its parts ("transformer").
class AdapterMetadata {
 public:
  /// Empty where the file has none. Throws ModelError naming `label` for metadata that is broken.
  static AdapterMetadata of(const std::map<std::string, std::string>& metadata, const std::string& label);
  /// alpha of a module by its spelling in the file without a prefix; nothing where the file does not say it.
  std::optional<double> alpha(std::string_view module) const;
  /// Whether the scale is alpha / sqrt(rank).
  bool rank_stabilised() const { return rank_stabilised_; }

 private:
  std::optional<double> alpha_;
  std::map<std::string, double> alphas_;  // of modules whose names end in the key
  bool rank_stabilised_ = false;
};

}  // namespace wan::lora
