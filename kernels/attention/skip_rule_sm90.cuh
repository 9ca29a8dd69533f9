// Skip-Softmax's rule for kernels with wgmma.
#pragma once

#include "kernels/attention/skip_rule.cuh"
#include "kernels/simt/sm90.h"

namespace wan::kernels::attention_sm90 {

using attention_mma::Softmax;

/// Skip-Softmax by the 64 queries of a warpgroup together, whose products belong to all of its warps.
struct SkipByWarpgroup : attention_mma::SkipBelow {
  int barrier;

  WAN_DEVICE SkipByWarpgroup(const SkipArguments& a, int consumer) : SkipBelow(a), barrier(1 + consumer) {}
  WAN_DEVICE bool leaves_out(const float (&largest)[2], const Softmax& softmax) {
    if (!simt::sm90::all_of_warpgroup(is_below(largest, softmax), barrier)) return false;
    ++skipped;
    return true;
  }
};
static_assert(kSkipQueriesWgmma == 64 && kSkipKeysWgmma == kInt8KeyBlock, "a warpgroup's queries, a tile's keys");

}  // namespace wan::kernels::attention_sm90
