// What an attention kernel keeps of each row, and Skip-Softmax's rule on it (SkipArguments): which tiles of keys a
// group of queries leaves out.
#pragma once

#include "kernels/attention/launch.h"
#include "kernels/op/fragments.h"
#include "kernels/simt/simt.h"

namespace wan::kernels::attention_mma {

/// What a thread knows of its two rows, `lane / 4` and `lane / 4 + 8` of the warp's 16. Logits are in units of log2.
struct Softmax {
  float largest[2];  // of all keys so far
  float sum[2];      // of this thread's own keys so far
};

/// The rule is a parameter of the kernels. What a `Skip` is, where kOn:
///   open        before the first tile: rows past the end agree to leave out whatever the others do
///   leaves_out  whether the group leaves a tile out, by the largest logit of a tile in each of the thread's two rows
///   finish      behind the last tile; `group_query` is the group's first query
/// Dense compiles nothing of it.
struct Dense {
  static constexpr bool kOn = false;
  WAN_DEVICE explicit Dense(const SkipArguments&) {}
  WAN_DEVICE void open(Softmax&, int, int, int) const {}
  WAN_DEVICE void finish(const SkipArguments&, int, int, bool) const {}
};

/// Tiles that this thread's warp has left out. In shared memory, since some of the kernels have no register left; the
/// warp's first lane alone writes and reads it.
WAN_DEVICE int& skipped_tiles() {
  constexpr int kMostWarps = 16;
  WAN_SHARED(int, skipped, [kMostWarps]);
  return skipped[threadIdx.x / simt::kWarp];
}

/// What groups of either size have in common.
struct SkipBelow {
  static constexpr bool kOn = true;
  float below;

  WAN_DEVICE explicit SkipBelow(const SkipArguments& a) : below(a.below) {}

  /// `first` is the first query of the warp. A row past the end has the largest logit there is: all tiles are below it.
  WAN_DEVICE void open(Softmax& softmax, int first, int queries, int lane) const {
    if (lane == 0) skipped_tiles() = 0;
    WAN_UNROLL
    for (int row = 0; row < 2; ++row)
      if (first + fragments::c_16x8(lane, 2 * row).row >= queries) softmax.largest[row] = INFINITY;
  }
  /// Nothing lies below the -inf of a first tile.
  WAN_DEVICE bool is_below(const float (&largest)[2], const Softmax& softmax) const {
    return largest[0] < softmax.largest[0] + below && largest[1] < softmax.largest[1] + below;
  }
  /// Counts a tile where all agreed to leave it out.
  WAN_DEVICE static bool counted(bool all) {
    if (all && threadIdx.x % simt::kWarp == 0) ++skipped_tiles();
    return all;
  }
  WAN_DEVICE void finish(const SkipArguments& a, int group_query, int queries, bool is_first_thread) const {
    if (is_first_thread && group_query < queries)
      simt::add_to_counter(a.skipped, static_cast<unsigned long long>(skipped_tiles()));
  }
};

/// The 16 queries of a warp together.
struct SkipByWarp : SkipBelow {
  WAN_DEVICE explicit SkipByWarp(const SkipArguments& a) : SkipBelow(a) {}
  WAN_DEVICE bool leaves_out(const float (&largest)[2], const Softmax& softmax) const {
    return counted(simt::all_of_warp(is_below(largest, softmax)));
  }
};
static_assert(kSkipQueriesMma == 16 && kSkipKeysMma == kAttentionKeyBlock, "a warp's queries, a tile's keys");

}  // namespace wan::kernels::attention_mma
