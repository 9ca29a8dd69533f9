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

NetworkSizes joined(const NetworkSizes& first, const NetworkSizes& second) {
  NetworkSizes both = first;
  both.outside += second.outside;
  both.outside_file = std::max(first.outside_file, second.outside_file);
  both.blocks.resize(std::max(first.blocks.size(), second.blocks.size()));
  for (size_t i = 0; i < second.blocks.size(); ++i) {
    BlockSizes& block = both.blocks[i];
    block.device = std::max(block.device, second.blocks[i].device);
    block.file = std::max(block.file, second.blocks[i].file);
    block.made = std::max(block.made, second.blocks[i].made);
  }
  return both;
}

}  // namespace wan
