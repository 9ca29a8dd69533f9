#include "models/weights/streamed_blocks.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <string>

#include "models/weights/block_image.h"

namespace wan {
namespace {

std::vector<Weight> weights_of(const Weights& weights, int64_t block) {
  return weights.taken(StreamedBlocks::kBlocks + std::to_string(block) + ".");
}

uint64_t aligned(uint64_t bytes) {
  return (bytes + BlockMemory::kAlignment - 1) / BlockMemory::kAlignment * BlockMemory::kAlignment;
}

uint64_t size_of(const std::vector<Weight>& weights) {
  uint64_t bytes = 0;
  for (const Weight& weight : weights)
    for (const Tensor& tensor : weight.tensors()) bytes += aligned(tensor.nbytes());
  return bytes;
}

/// `bytes` [n] uint8 as a tensor like `like`, from `offset` on.
Tensor view_like(const Tensor& like, const Tensor& bytes, uint64_t offset) {
  return bytes.narrow(0, int64_t(offset), int64_t(like.nbytes())).view(like.scalar_type()).view(like.sizes());
}

}  // namespace

struct StreamedBlocks::Block {
  std::vector<Weight> weights;
  std::vector<std::vector<uint64_t>> offsets;  // of the tensors of each weight in a region
  uint64_t bytes = 0;
  std::shared_ptr<BlockImage> image;
  const Region* bound = nullptr;                                         // in which the weights lie
  std::map<const Region*, std::vector<std::vector<Tensor>>> views = {};  // of each weight in the regions it was in

  void add(Weight weight, const Checkpoint& file) {
    const size_t number = image->add(weight, file);
    std::vector<uint64_t>& starts = offsets.emplace_back();
    for (const Tensor& tensor : weight.tensors()) {
      starts.push_back(bytes);
      bytes += aligned(tensor.nbytes());
    }
    image->lies_at(number, starts);
    weights.push_back(std::move(weight));
  }

  void bind(const Region& region) {
    if (bound == &region) return;
    std::vector<std::vector<Tensor>>& tensors = views[&region];
    if (tensors.empty())
      for (size_t i = 0; i < weights.size(); ++i) {
        const std::vector<Tensor> like = weights[i].tensors();
        std::vector<Tensor>& mine = tensors.emplace_back();
        for (size_t k = 0; k < like.size(); ++k) mine.push_back(view_like(like[k], region.bytes, offsets[i][k]));
      }
    for (size_t i = 0; i < weights.size(); ++i) weights[i].lie_in(tensors[i]);
    bound = &region;
  }
};

std::vector<uint64_t> StreamedBlocks::sizes(const Weights& weights, int64_t blocks) {
  std::vector<uint64_t> sizes;
  for (int64_t block = 0; block < blocks; ++block) sizes.push_back(size_of(weights_of(weights, block)));
  return sizes;
}

StreamedBlocks::StreamedBlocks(const Weights& weights, std::shared_ptr<BlockMemory> memory,
                               std::shared_ptr<Copier> copier, std::shared_ptr<HostRoom> room)
    : memory_(std::move(memory)),
      copier_(std::move(copier)),
      room_(std::move(room)),
      files_(weights.files() ? weights.files() : std::make_shared<WeightFiles>(weights.checkpoint())) {
  const auto staging = std::make_shared<Staging>(weights.taken(kBlocks), weights.checkpoint());
  for (int64_t number = 0; number < memory_->blocks(); ++number) {
    Block& block = *blocks_.emplace_back(std::make_unique<Block>());
    block.image = std::make_shared<BlockImage>(files_, staging, room_, /*keeps=*/!memory_->is_kept(number));
    for (const Weight& weight : weights_of(weights, number)) block.add(weight, weights.checkpoint());
    const Tensor& region = memory_->is_kept(number) ? memory_->own(number).bytes : memory_->ring().at(0).bytes;
    if (block.weights.empty() || block.bytes > region.nbytes())
      throw std::invalid_argument("[blocks] block " + std::to_string(number) + " takes " + std::to_string(block.bytes) +
                                  " bytes, its memory has " + std::to_string(region.nbytes()));
  }
}

StreamedBlocks::~StreamedBlocks() {
  // The last ones first: what is queued behind a copy is gone before that one ends.
  const auto leave = [&](Region& region) {
    if (region.owner == this) empty(region);
  };
  for (Region& region : memory_->ring()) leave(region);
  for (int64_t block = memory_->blocks() - 1; block >= 0; --block)
    if (memory_->is_kept(block)) leave(memory_->own(block));
}

void StreamedBlocks::empty(Region& region) noexcept {
  BlockImage& image = *blocks_[size_t(region.block)]->image;
  image.set_stopped(true);
  try {
    if (region.filled) copier_->cancel(*region.filled);
  } catch (...) {  // the device failed, which whoever asks it next is told
  }
  image.set_stopped(false);
  region.owner = nullptr;
  region.filled = nullptr;
}

void StreamedBlocks::begin() {
  const auto slots = int64_t(memory_->ring().size());
  for (int64_t block = 0; block < memory_->blocks(); ++block) {
    if (memory_->is_kept(block))
      fill(memory_->own(block), block);
    else if (memory_->place(block) < slots)
      fill(memory_->ring()[size_t(memory_->place(block))], block);
  }
}

StreamedBlocks::Use StreamedBlocks::use(int64_t block) {
  Block& mine = *blocks_.at(size_t(block));
  if (!region_of(block)) {
    if (memory_->is_kept(block))
      fill(memory_->own(block), block);
    else
      refill_ring(memory_->place(block));
  }
  Region& region = *region_of(block);
  try {
    copier_->wait(*region.filled, [this] { files_->check(); });
  } catch (...) {
    empty(region);
    throw;
  }
  mine.bind(region);
  return Use(this, block);
}

void StreamedBlocks::release(int64_t block) noexcept {
  Region* region = region_of(block);
  if (!region) return;
  try {
    region->free_after = copier_->now();
  } catch (...) {
    region->owner = nullptr;  // nobody may write there before it is known that the block has been used
    return;
  }
  if (memory_->is_kept(block)) {
    if (next_) next_->try_fill(*region, block);
    return;
  }
  // To the next block that has no region: of this forward, then of the next one or of the network that follows.
  const std::vector<int64_t>& streamed = memory_->streamed();
  const auto slots = int64_t(memory_->ring().size()), all = int64_t(streamed.size());
  for (int64_t place = memory_->place(block) + 1; place <= memory_->place(block) + slots; ++place) {
    StreamedBlocks& whose = place >= all && next_ ? *next_ : *this;
    const int64_t other = streamed[size_t(place % all)];
    if (!whose.region_of(other)) return whose.try_fill(*region, other);
  }
}

void StreamedBlocks::fill(Region& region, int64_t block) {
  if (region.filled) copier_->cancel(*region.filled);
  region.owner = nullptr;
  region.filled = nullptr;
  region.filled = copier_->add([image = blocks_[size_t(block)]->image, bytes = region.bytes](
                                   CopyEngine& engine, Copied& done) { image->copy_to(bytes, engine, done); },
                               region.free_after);
  region.owner = this;
  region.block = block;
}

void StreamedBlocks::try_fill(Region& region, int64_t block) noexcept {
  try {
    fill(region, block);
  } catch (...) {  // out of host memory
  }
}

StreamedBlocks::Region* StreamedBlocks::region_of(int64_t block) {
  if (memory_->is_kept(block)) return holds(memory_->own(block), block) ? &memory_->own(block) : nullptr;
  for (Region& region : memory_->ring())
    if (holds(region, block)) return &region;
  return nullptr;
}

void StreamedBlocks::refill_ring(int64_t first) {
  std::vector<Region>& ring = memory_->ring();
  const std::vector<int64_t>& streamed = memory_->streamed();
  std::vector<int64_t> wanted;
  for (size_t k = 0; k < ring.size(); ++k) {
    const int64_t block = streamed[(size_t(first) + k) % streamed.size()];
    if (!region_of(block)) wanted.push_back(block);
  }
  const auto is_needed = [&](const Region& region) {
    for (size_t k = 0; k < ring.size(); ++k)
      if (holds(region, streamed[(size_t(first) + k) % streamed.size()])) return true;
    return false;
  };
  size_t next = 0;
  for (Region& region : ring)
    if (next < wanted.size() && !is_needed(region)) fill(region, wanted[next++]);
}

uint64_t StreamedBlocks::host_bytes() const {
  uint64_t bytes = 0;
  for (const auto& block : blocks_) bytes += block->image->bytes();
  return bytes;
}

}  // namespace wan
