#include "models/weights/lora/dora_cache.h"

#include <algorithm>

namespace wan::lora {

at::Tensor DoraCache::get(const std::shared_ptr<const File>& file, const Difference& difference, double strength,
                          const std::function<at::Tensor()>& make) {
  const auto is_it = [&](const Entry& entry) {
    return entry.strength == strength && entry.tensor == difference.tensor && entry.file.lock() == file;
  };
  if (const auto found = std::find_if(entries_.begin(), entries_.end(), is_it); found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return found->factors;
  }
  at::Tensor factors = make();
  if (factors.nbytes() > limit_) return factors;
  entries_.push_front({file, difference.tensor, strength, factors});
  for (bytes_ += factors.nbytes(); bytes_ > limit_; entries_.pop_back()) bytes_ -= entries_.back().factors.nbytes();
  return factors;
}

}  // namespace wan::lora
