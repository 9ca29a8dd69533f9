// Device memory for the blocks of one network, or of two that follow each other: one region for each block that stays,
// and a ring of slots through which the others go.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "models/weights/copier.h"

namespace wan {

/// How the blocks of a network lie on their device.
struct BlockPlan {
  int64_t kept = 0;   // blocks that stay, spread evenly over the network; at most as many as it has
  int64_t slots = 2;  // that all others share; at least two, at most as many as there are others
};

/// Which blocks are streamed, in order: of `blocks` all but `kept`, as far apart as can be.
std::vector<int64_t> streamed_of(int64_t blocks, int64_t kept);

/// Bytes of device memory that blocks of these sizes take: each kept one its own, and `slots` times the largest of the
/// others. Sizes are StreamedBlocks::sizes. Throws std::invalid_argument for a plan that the numbers contradict.
uint64_t block_bytes(const std::vector<uint64_t>& sizes, const BlockPlan& plan);

/// The regions. Who fills and uses them is StreamedBlocks; a region tells whose block it holds.
class BlockMemory {
 public:
  struct Region {
    Tensor bytes;                 // [n] uint8 on the device, from a multiple of kAlignment on
    const void* owner = nullptr;  // the StreamedBlocks whose block it holds, or is being filled with
    int64_t block = -1;           // of the owner
    std::shared_ptr<Copier::Ticket> filled = nullptr;  // null: nothing was copied yet
    Moment free_after = nullptr;                       // the last use of what it held
  };
  static constexpr uint64_t kAlignment = 256;

  /// Takes the memory at once. `sizes` are those of StreamedBlocks::sizes, of two networks the larger of each block.
  /// Throws c10::OutOfMemoryError, and std::invalid_argument as block_bytes.
  BlockMemory(const std::vector<uint64_t>& sizes, const BlockPlan& plan, at::Device device);

  int64_t blocks() const { return int64_t(ring_place_.size()); }
  const std::vector<int64_t>& streamed() const { return streamed_; }
  bool is_kept(int64_t block) const { return ring_place_.at(size_t(block)) < 0; }
  /// Of a streamed block: its place among streamed().
  int64_t place(int64_t block) const { return ring_place_.at(size_t(block)); }

  Region& own(int64_t block) { return own_.at(size_t(block)); }  // of a kept block
  std::vector<Region>& ring() { return ring_; }
  uint64_t bytes() const { return bytes_; }

 private:
  std::vector<int64_t> streamed_, ring_place_;  // ring_place_: -1 for a kept block
  std::vector<Region> own_, ring_;              // own_: without memory for streamed blocks
  uint64_t bytes_ = 0;
};

}  // namespace wan
