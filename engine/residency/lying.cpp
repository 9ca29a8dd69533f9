#include "engine/residency/lying.h"

#include <algorithm>

namespace wan {
namespace {

BlockPlan plan_of(const NetworkSizes& sizes, int64_t kept) {
  return {kept, std::min<int64_t>(2, int64_t(sizes.blocks.size()) - kept)};
}

uint64_t bytes_of(const NetworkSizes& sizes, int64_t kept) {
  return sizes.rest + block_bytes(sizes.blocks, plan_of(sizes, kept));
}

}  // namespace

uint64_t NetworkSizes::whole() const {
  return bytes_of(*this, int64_t(blocks.size()));
}

uint64_t NetworkSizes::least() const {
  return std::min(whole(), bytes_of(*this, 0));
}

std::optional<Lying> lying_for(const NetworkSizes& sizes, uint64_t room, int64_t most_kept) {
  for (int64_t kept = std::min(most_kept, int64_t(sizes.blocks.size())); kept >= 0; --kept)
    if (const uint64_t bytes = bytes_of(sizes, kept); bytes <= room) return Lying{plan_of(sizes, kept), bytes};
  return std::nullopt;
}

std::vector<uint64_t> shared_sizes(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  std::vector<uint64_t> larger;
  for (size_t i = 0; i < a.size(); ++i) larger.push_back(std::max(a[i], b.at(i)));
  return larger;
}

}  // namespace wan
