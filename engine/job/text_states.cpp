#include "engine/job/text_states.h"

namespace wan {

at::Tensor TextStates::operator()(const std::string& prompt) {
  if (auto known = states_.find(prompt); known != states_.end()) return known->second;
  if (!tokenizer_) tokenizer_ = text::Tokenizer::open(networks_.folder().tokenizer);
  return states_[prompt] = networks_.text_encoder()(tokenizer_->encode(prompt));
}

}  // namespace wan
