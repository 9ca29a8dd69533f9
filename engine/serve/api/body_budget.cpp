#include "engine/serve/api/body_budget.h"

namespace wan::serve {

bool BodyBudget::Share::grow(uint64_t bytes) {
  if (bytes <= kFree || bytes <= bytes_) return true;
  const uint64_t others = state_->used - bytes_;
  if (others > 0 && (others >= state_->most || bytes > state_->most - others)) return false;
  state_->used = others + bytes;
  bytes_ = bytes;
  return true;
}

void BodyBudget::Share::take(uint64_t bytes, Access::Form form) {
  if (grow(bytes)) return;
  throw HttpError(refusal(form, 429, "rate_limited",
                          "Other requests with large bodies are being read; try again later, or upload files first",
                          {{"Retry-After", "5"}}));
}

}  // namespace wan::serve
