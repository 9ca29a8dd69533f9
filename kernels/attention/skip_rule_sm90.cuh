// Skip-Softmax's rule for kernels with wgmma.
#pragma once

#include "kernels/attention/skip_rule.cuh"
#include "kernels/simt/sm90.h"

namespace wan::kernels::attention_sm90 {

using attention_mma::Softmax;

/// Skip-Softmax by the 64 queries of a warpgroup together, whose products belong to all of its warps.
struct SkipByWarpgroup : attention_mma::SkipBelow {
  WAN_DEVICE explicit SkipByWarpgroup(const SkipArguments& a) : SkipBelow(a) {}
  /// The barrier is the consumer's number; 0 is the block's own.
  WAN_DEVICE bool leaves_out(const float (&largest)[2], const Softmax& softmax) const {
    return counted(simt::sm90::all_of_warpgroup(is_below(largest, softmax), int(threadIdx.x / simt::sm90::kWarpgroup)));
  }
};
static_assert(kSkipQueriesWgmma == 64 && kSkipKeysWgmma == kInt8KeyBlock, "a warpgroup's queries, a tile's keys");

}  // namespace wan::kernels::attention_sm90
