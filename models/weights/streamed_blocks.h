// The blocks of a network whose weights lie in regions of device memory (BlockMemory) and are copied there from host
// memory while other blocks compute.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "models/weights/block_memory.h"
#include "models/weights/copier.h"
#include "models/weights/host_room.h"
#include "models/weights/scope.h"

namespace wan {

/// The blocks 0 to n - 1 of a network, whose weights have the names "blocks.N.".
///
/// A block is used between use(N) and the end of what it returns, by one thread, one block at a time. Where its bytes
/// are not there yet, use() waits for them. A forward uses the blocks in order; the next one may begin before or after
/// the last block. Which block lies where changes nothing of the results: the bytes of its weights are those that it
/// would have by itself.
///
/// A block's bytes are read by a ring (models/files/read_ring.h), not through the mapping. Those of a block that stays
/// leave nothing in the page cache. Of one that is streamed they come from the file through the page cache where that has
/// them in the form of the device; else they are made of it once and kept in host memory, or, where `room` has none left,
/// made again for each copy.
class StreamedBlocks {
 public:
  /// Bytes of memory that each block takes: its tensors, each from a multiple of BlockMemory::kAlignment on. `weights`
  /// are those of the network, planned or not.
  static std::vector<uint64_t> sizes(const Weights& weights, int64_t blocks);

  /// `weights`: of the network once it is built, of which plan(kBlocks) was asked before. Throws ModelError for scales
  /// that are not finite, and std::invalid_argument for memory that is too small or of another number of blocks.
  StreamedBlocks(const Weights& weights, std::shared_ptr<BlockMemory> memory, std::shared_ptr<Copier> copier,
                 std::shared_ptr<HostRoom> room);
  static constexpr const char* kBlocks = "blocks.";
  ~StreamedBlocks();
  StreamedBlocks(const StreamedBlocks&) = delete;

  /// Queues the copies of all blocks that have a region at first. Without it, they are copied when they are used.
  void begin();

  /// While it lives, the block's weights hold its values.
  class Use {
   public:
    Use() = default;
    Use(StreamedBlocks* blocks, int64_t block) : blocks_(blocks), block_(block) {}
    Use(Use&& other) noexcept : blocks_(std::exchange(other.blocks_, nullptr)), block_(other.block_) {}
    Use& operator=(Use&&) = delete;
    ~Use() {
      if (blocks_) blocks_->release(block_);
    }

   private:
    StreamedBlocks* blocks_ = nullptr;
    int64_t block_ = -1;
  };
  /// Throws what copying threw, and what WeightFiles::check throws while it waits; the next call tries again.
  [[nodiscard]] Use use(int64_t block);

  /// From now on each region whose block has been used for the last time in a forward goes to `next`, a network of as
  /// many blocks in the same memory: as the running or next forward of this one goes on, the other's blocks take its
  /// place. After that forward all that `next` needs first is queued. This network can still be used, and then copies
  /// anew.
  void hand_over_to(StreamedBlocks& next) { next_ = &next; }
  void keep() { next_ = nullptr; }

  const std::shared_ptr<BlockMemory>& memory() const { return memory_; }
  /// Of host memory that images take beside files.
  uint64_t host_bytes() const;

 private:
  struct Block;
  using Region = BlockMemory::Region;

  void release(int64_t block) noexcept;
  /// The region holds nothing any more; a copy into it that runs is ended soon and waited for. One of this network's.
  void empty(Region& region) noexcept;
  /// Queues the copy of a block into a region, after the last use of what that holds.
  void fill(Region& region, int64_t block);
  /// The same; where it fails, the region holds nothing, and the block is copied when it is used.
  void try_fill(Region& region, int64_t block) noexcept;
  bool holds(const Region& region, int64_t block) const { return region.owner == this && region.block == block; }
  /// The region that holds a block or is being filled with it; else null.
  Region* region_of(int64_t block);
  /// Fills the ring with the streamed blocks from place number `first` on; those that are there stay.
  void refill_ring(int64_t first);

  const std::shared_ptr<BlockMemory> memory_;
  const std::shared_ptr<Copier> copier_;
  const std::shared_ptr<HostRoom> room_;
  const std::shared_ptr<WeightFiles> files_;
  std::vector<std::unique_ptr<Block>> blocks_;
  StreamedBlocks* next_ = nullptr;
};

/// use(block) where there are streamed blocks; else the block is there anyway.
inline StreamedBlocks::Use use_block(const std::shared_ptr<StreamedBlocks>& blocks, int64_t block) {
  return blocks ? blocks->use(block) : StreamedBlocks::Use();
}

}  // namespace wan
