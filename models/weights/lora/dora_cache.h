// What DoRA multiplies a weight's rows or columns with. Making it reads the whole weight, and a scale that changes from
// step to step comes back with each clip: what was made is kept.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "models/weights/lora/file.h"

namespace wan::lora {

/// Of one network's weights; of several networks each has its own. Not for several threads.
class DoraCache {
 public:
  /// Enough for three scales on all linears of a 14B network.
  static constexpr uint64_t kLimit = 64 << 20;
  /// Keeps `limit` bytes at most: what was not used for longest goes.
  explicit DoraCache(uint64_t limit = kLimit) : limit_(limit) {}

  /// What was made for this file, tensor and strength; else what `make` returns.
  at::Tensor get(const std::shared_ptr<const File>& file, const Difference& difference, double strength,
                 const std::function<at::Tensor()>& make);
  uint64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::weak_ptr<const File> file;
    std::string tensor;
    double strength;
    at::Tensor factors;
  };

  uint64_t limit_, bytes_ = 0;
  std::list<Entry> entries_;  // the last used first
};

}  // namespace wan::lora
