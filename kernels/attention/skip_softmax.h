// Skip-Softmax: attention that leaves out blocks of keys which can hardly matter. While a group of queries walks over
// the blocks of its keys, a block whose largest logit lies below the largest so far by more than |ln lambda|, in every
// row, counts for nothing: no exponentials, no product with the values. Source: BLASST (Yuan et al. 2025,
// arXiv 2512.12087).
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// How many blocks were left out, of how many. A block is a group of queries by a tile of keys of one head, whose sizes
/// are a kernel's own (SkipBlock).
struct SkippedBlocks {
  int64_t skipped = 0, all = 0;

  bool operator==(const SkippedBlocks&) const = default;
  SkippedBlocks& operator+=(const SkippedBlocks& other) {
    skipped += other.skipped;
    all += other.all;
    return *this;
  }
};

/// The rule for some attentions, and the count of what it left out in them.
/// The weights that are lost are each below lambda times the largest: the result moves by at most
/// 2 * lambda * (keys left out) * max |v|.
class SkipSoftmax {
 public:
  /// lambda above 0 and below 1; `device` is that of the queries. Throws c10::Error for another lambda.
  SkipSoftmax(double lambda, at::Device device);

  double lambda() const { return lambda_; }
  /// log2 of lambda as the kernels have it.
  float below() const { return below_; }
  /// int64 [1] on the device: kernels add to it.
  const Tensor& counter() const { return counter_; }
  /// Of an attention that was begun: all of its blocks.
  void add_all(int64_t blocks) { all_ += blocks; }
  /// What was counted so far; waits for the device.
  SkippedBlocks count() const;

 private:
  double lambda_;
  float below_;
  int64_t all_ = 0;
  Tensor counter_;
};

/// Queries that decide together, and keys of a tile.
struct SkipBlock {
  int64_t queries, keys;
};
/// That of our kernels with these instructions.
SkipBlock skip_block(Instructions instructions);
/// The blocks of an attention: whole groups and tiles, and what is left of them.
int64_t count_blocks(const SkipBlock& block, int64_t batch, int64_t heads, int64_t queries, int64_t keys);

/// Width of the heads that our kernels take.
inline constexpr int64_t kSkippingHeadWidth = 128;
/// Whether attention on `device` with heads of this width and dtype is our kernel's where blocks are left out, in 16 bits
/// and in 8: never a library's, whatever was chosen without. The reference takes its place on the CPU and where this says
/// no; a request is refused there on a card (engine/sampling/skipping.h).
bool has_skipping_kernel(at::Device device, int64_t head_dim, at::ScalarType dtype, const Context& context);

/// kernels::attention (attention.h) without bias, by the rule of `skip`. The softmax is in float32; on the CPU, and
/// where our kernel does not run, the reference with the blocks of mma.sync.
Tensor attention_skipping(const Tensor& q, const Tensor& k, const Tensor& v, double scale, SkipSoftmax& skip,
                          const Context& context = default_context());

namespace reference {
/// Of logits [..., queries, keys] in units of log2, which groups leave out which tiles: bool [..., groups, tiles].
/// -infinity stands for a closed key.
Tensor blocks_left_out(const Tensor& logits, float below, const SkipBlock& block);
/// For the same logits, by how much each block's logits lie below the largest before it in the row that is nearest, in
/// units of log2: [..., groups, tiles], infinity for a first tile. A block is left out where this is less than `below`,
/// up to the rounding of the sum; so lambda for a share of the blocks is read off these.
Tensor block_gaps(const Tensor& logits, const SkipBlock& block);
/// -infinity in place of the logits that `skip` leaves out, which are counted.
void leave_out_(Tensor& logits, const SkipSoftmax& skip, const SkipBlock& block);
/// Any device and head width.
Tensor attention_skipping(const Tensor& q, const Tensor& k, const Tensor& v, double scale, SkipSoftmax& skip,
                          const SkipBlock& block);
}  // namespace reference

}  // namespace wan::kernels
