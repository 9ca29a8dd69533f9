#include "models/weights/block_memory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace wan {
namespace {

void check(int64_t blocks, const BlockPlan& plan) {
  const int64_t others = blocks - plan.kept;
  if (plan.kept < 0 || others < 0 || (others > 0 && (plan.slots < std::min<int64_t>(2, others) || plan.slots > others)))
    throw std::invalid_argument("[blocks] " + std::to_string(blocks) + " blocks cannot lie as " +
                                std::to_string(plan.kept) + " kept ones and " + std::to_string(plan.slots) + " slots");
}

uint64_t largest(const std::vector<uint64_t>& sizes, const std::vector<int64_t>& blocks) {
  uint64_t most = 0;
  for (int64_t block : blocks) most = std::max(most, sizes.at(size_t(block)));
  return most;
}

}  // namespace

std::vector<int64_t> streamed_of(int64_t blocks, int64_t kept) {
  std::vector<int64_t> streamed;
  for (int64_t block = 0; block < blocks; ++block) {
    // Whether it is the last of its stretch, where there is one for each of so many.
    const auto ends = [&](int64_t stretches) { return (block + 1) * stretches / blocks > block * stretches / blocks; };
    if (2 * kept >= blocks ? ends(blocks - kept) : !ends(kept)) streamed.push_back(block);
  }
  return streamed;
}

uint64_t block_bytes(const std::vector<uint64_t>& sizes, const BlockPlan& plan) {
  const auto blocks = int64_t(sizes.size());
  check(blocks, plan);
  const std::vector<int64_t> streamed = streamed_of(blocks, plan.kept);
  uint64_t bytes = 0;
  for (uint64_t size : sizes) bytes += size;
  for (int64_t block : streamed) bytes -= sizes[size_t(block)];
  return streamed.empty() ? bytes : bytes + uint64_t(plan.slots) * largest(sizes, streamed);
}

BlockMemory::BlockMemory(const std::vector<uint64_t>& sizes, const BlockPlan& plan, at::Device device)
    : streamed_(streamed_of(int64_t(sizes.size()), plan.kept)), ring_place_(sizes.size(), -1), own_(sizes.size()) {
  check(int64_t(sizes.size()), plan);
  for (size_t place = 0; place < streamed_.size(); ++place) ring_place_[size_t(streamed_[place])] = int64_t(place);
  const auto take = [&](uint64_t bytes) {
    bytes_ += bytes;
    return at::empty({int64_t(bytes)}, at::TensorOptions(device).dtype(at::kByte));
  };
  for (size_t block = 0; block < sizes.size(); ++block)
    if (is_kept(int64_t(block))) own_[block].bytes = take(sizes[block]);
  if (streamed_.empty()) return;
  for (int64_t slot = 0; slot < plan.slots; ++slot) {
    ring_.emplace_back();
    ring_.back().bytes = take(largest(sizes, streamed_));
  }
}

}  // namespace wan
