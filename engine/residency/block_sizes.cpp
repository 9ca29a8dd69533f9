#include "engine/residency/block_sizes.h"

#include <algorithm>

namespace wan {

uint64_t NetworkSizes::device() const {
  uint64_t sum = outside;
  for (const BlockSizes& block : blocks) sum += block.device;
  return sum;
}

uint64_t NetworkSizes::file() const {
  uint64_t sum = outside_file;
  for (const BlockSizes& block : blocks) sum += block.file;
  return sum;
}

uint64_t NetworkSizes::slot() const {
  uint64_t most = 0;
  for (const BlockSizes& block : blocks) most = std::max(most, block.device);
  return most;
}

}  // namespace wan
