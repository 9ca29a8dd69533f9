// Prompts to states of the text encoder; each text is encoded once.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/residency/networks.h"
#include "models/text/tokenizer/tokenizer.h"

namespace wan {

class TextStates {
 public:
  explicit TextStates(Networks& networks) : networks_(networks) {}

  /// States [n, text_dim] of the prompt's tokens, `</s>` included, in the placement's dtype and on its device.
  /// Throws ModelError for a damaged tokenizer or encoder.
  at::Tensor operator()(const std::string& prompt);

 private:
  Networks& networks_;
  std::optional<text::Tokenizer> tokenizer_;
  std::map<std::string, at::Tensor> states_;
};

}  // namespace wan
