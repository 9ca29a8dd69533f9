// Alphas: what diffusers writes about a LoRA into its file's metadata, and tensors of one number.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/weights/lora/module_pattern.h"
#include "models/weights/stored_tensor.h"

namespace wan::lora {

/// The one number of a tensor of any float or integer type, from the mapped file; nothing for another tensor.
std::optional<double> read_number(const StoredTensor& stored);

/// `__metadata__.lora_adapter_metadata` of a file: what it says of each part of a pipeline ("transformer",
/// "transformer_2", "text_encoder").
class AdapterMetadata {
 public:
  /// Empty where the file has none. Throws ModelError naming `label` for metadata that is broken, or
  /// whose alpha_pattern has keys that module_pattern() does not take, or more than 16 regular expressions.
  static AdapterMetadata of(const std::map<std::string, std::string>& metadata, const std::string& label);

  /// What it says of a module by its spelling in the file: of the part that the spelling begins with; a spelling
  /// without a part is one of the transformer. rank_pattern is not read: ranks are those of the tensors.
  struct Scaling {
    std::optional<double> alpha;
    bool rank_stabilised = false;  // the scale is alpha / sqrt(rank)
  };
  Scaling scaling(std::string_view spelled) const;

 private:
  struct OfPart {
    Scaling scaling;
    std::vector<std::pair<ModulePattern, double>> alphas;  // the first that means a module counts
  };
  std::map<std::string, OfPart, std::less<>> parts_;
};

}  // namespace wan::lora
