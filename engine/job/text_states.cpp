#include "engine/job/text_states.h"

#include "engine/residency/open_network.h"
#include "kernels/op/range.h"

namespace wan {

at::Tensor TextStates::operator()(const std::string& prompt) {
  if (auto known = states_.find(prompt); known != states_.end()) return known->second;
  const kernels::Range phase(kernels::RangeKind::Phase, "encode text");
  if (!tokenizer_) tokenizer_ = open_tokenizer(networks_.parts());
  return states_[prompt] = networks_.text_encoder()(tokenizer_->encode(prompt));
}

}  // namespace wan
