#include "kernels/attention/skip_softmax.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/launch.h"
#include "kernels/op/check.h"
#include "kernels/op/device.h"
#include "kernels/op/first_use.h"
#include "kernels/op/pieces.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

static_assert(kSkippingHeadWidth == kAttentionHeadDim);
constexpr double kInfinity = std::numeric_limits<double>::infinity();

int64_t parts(int64_t whole, int64_t part) {
  return (whole + part - 1) / part;
}

/// Compares one group of the last head with the reference when the kernel is first used on a device with or without a
/// tail of keys.
void check_once(const Tensor& out, const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                const SkipSoftmax& skip, Instructions instructions, const Context& context) {
  // Rounding costs 4e-3 at most in 16 bits; a block that lies on the very edge may be left out by one alone.
  constexpr double kBound = 2e-2;
  const SkipBlock block = skip_block(instructions);
  const std::string shape = std::string(at::toString(q.scalar_type())) +
                            (instructions == Instructions::Wgmma ? " with wgmma" : "") +
                            (k.size(1) % block.keys ? " with a tail" : "");
  const int64_t count = std::min(block.queries, q.size(1));
  const auto last_head = [](const Tensor& x) { return x.narrow(2, -1, 1); };
  check_first_use(
      "attention_skipping", shape, q.device(), kBound, [&] { return last_head(out).narrow(1, 0, count); },
      [&] {
        SkipSoftmax apart(skip.lambda(), q.device());
        return reference::attention_skipping(last_head(q).narrow(1, 0, count), last_head(k), last_head(v), scale, apart,
                                             block);
      },
      context, "without --skip-softmax this kernel is not taken");
}

}  // namespace

SkipSoftmax::SkipSoftmax(double lambda, at::Device device) : lambda_(lambda), below_(float(std::log2(lambda))) {
  TORCH_CHECK(lambda > 0 && lambda < 1, "[skip_softmax] lambda must be above 0 and below 1, got ", lambda);
  counter_ = at::zeros({1}, at::TensorOptions().device(device).dtype(at::kLong));
}

SkippedBlocks SkipSoftmax::count() const {
  return {counter_.item<int64_t>(), all_};
}

SkipBlock skip_block(Instructions instructions) {
  if (instructions == Instructions::Wgmma) return {kSkipQueriesWgmma, kSkipKeysWgmma};
  return {kSkipQueriesMma, kSkipKeysMma};
}

int64_t count_blocks(const SkipBlock& block, int64_t batch, int64_t heads, int64_t queries, int64_t keys) {
  return batch * heads * parts(queries, block.queries) * parts(keys, block.keys);
}

bool has_skipping_kernel(at::Device device, int64_t head_dim, at::ScalarType dtype, const Context& context) {
  return kFusedBuilt && device.is_cuda() && !context.options().reference && takes_head(head_dim, dtype) &&
         cuda::has_kernels(device);
}

Tensor attention_skipping(const Tensor& q, const Tensor& k, const Tensor& v, double scale, SkipSoftmax& skip,
                          const Context& context) {
  check_shape("attention_skipping", "q", q, {kAny, kAny, kAny, kAny});
  check_shape("attention_skipping", "k", k, {q.size(0), kAny, q.size(2), q.size(3)});
  check_shape("attention_skipping", "v", v, k.sizes());
  TORCH_CHECK(k.size(1) > 0, "[attention_skipping] k must have at least one token, got ", k.sizes());
  // The work without the rule: how much is left out is known only behind it.
  const Range range("attention_skipping", [&] { return attention_work(q, k.size(1), ceiling_of(q.scalar_type())); });
  const Instructions instructions = cuda::instructions_on(q.device(), context);
  if (auto out = cuda::attention(q, k, v, scale, {}, instructions, context, &skip)) {
    check_once(*out, q, k, v, scale, skip, instructions, context);
    return *out;
  }
  return reference::attention_skipping(q, k, v, scale, skip, skip_block(Instructions::Mma));
}

namespace reference {
namespace {

/// Of each row and tile, [..., rows, tiles].
struct RowMaxima {
  Tensor largest, before;  // of the tile; of the tiles before it, -infinity for the first

  RowMaxima(const Tensor& logits, const SkipBlock& block) {
    const int64_t keys = logits.size(-1), tiles = parts(keys, block.keys);
    const Tensor padded = at::constant_pad_nd(logits, {0, tiles * block.keys - keys}, -kInfinity);
    largest = padded.unflatten(-1, {tiles, block.keys}).amax(-1);
    // A tile that was left out is below what came before it and changes nothing.
    const Tensor so_far = std::get<0>(largest.cummax(-1));
    before = at::constant_pad_nd(so_far.narrow(-1, 0, tiles - 1), {1, 0}, -kInfinity);
  }
};

/// [..., rows, tiles] -> [..., groups, rows of a group, tiles]; `agrees` stands for rows past the end.
Tensor of_groups(const Tensor& rows, const SkipBlock& block, double agrees) {
  const int64_t groups = parts(rows.size(-2), block.queries);
  const Tensor whole = at::constant_pad_nd(rows, {0, 0, 0, groups * block.queries - rows.size(-2)}, agrees);
  return whole.unflatten(-2, {groups, block.queries});
}

/// Logits held at one time by a thread: 32 MiB in float32, and as much again to find the largest of each tile.
constexpr int64_t kLogits = int64_t(1) << 23;

/// Some heads, on any device, into `out`; counts into the counter of `skip`.
void of_heads(const Tensor& out, const Tensor& q, const Tensor& k, const Tensor& v, float scale,
              const SkipSoftmax& skip, const SkipBlock& block) {
  const at::ScalarType wide = accumulation(q.scalar_type());
  const int64_t per_group = q.size(0) * q.size(2) * k.size(1) * block.queries;
  const int64_t step = block.queries * std::max<int64_t>(kLogits / std::max<int64_t>(per_group, 1), 1);
  const Tensor keys = k.permute({0, 2, 3, 1}).to(wide), values = v.transpose(1, 2).to(wide);
  for (int64_t first = 0; first < q.size(1); first += step) {
    const int64_t count = std::min(step, q.size(1) - first);
    // The largest logits are multiplied by the scale behind the sum, as in the kernels.
    Tensor logits = at::matmul(q.narrow(1, first, count).transpose(1, 2).to(wide), keys).mul_(scale);
    leave_out_(logits, skip, block);
    const Tensor weights = logits.sub_(logits.amax(-1, true)).exp2_();
    out.narrow(1, first, count).copy_((at::matmul(weights, values) / weights.sum(-1, true)).transpose(1, 2));
  }
}

}  // namespace

Tensor blocks_left_out(const Tensor& logits, float below, const SkipBlock& block) {
  const RowMaxima rows(logits, block);
  return of_groups(rows.largest.lt(rows.before + double(below)).to(at::kByte), block, 1).amin(-2).to(at::kBool);
}

Tensor block_gaps(const Tensor& logits, const SkipBlock& block) {
  const RowMaxima rows(logits, block);
  return of_groups(rows.largest - rows.before, block, -kInfinity).amax(-2);
}

void leave_out_(Tensor& logits, const SkipSoftmax& skip, const SkipBlock& block) {
  const Tensor out = blocks_left_out(logits, skip.below(), block);
  skip.counter().add_(out.sum());
  const Tensor rows = out.repeat_interleave(block.queries, -2).narrow(-2, 0, logits.size(-2));
  logits.masked_fill_(rows.repeat_interleave(block.keys, -1).narrow(-1, 0, logits.size(-1)), -kInfinity);
}

// On the CPU a head at a time (kernels/op/pieces.h), each with a counter of its own.
Tensor attention_skipping(const Tensor& q, const Tensor& k, const Tensor& v, double scale, SkipSoftmax& skip,
                          const SkipBlock& block) {
  constexpr float kLog2E = 1.44269504f;
  const float factor = float(scale) * kLog2E;
  skip.add_all(count_blocks(block, q.size(0), q.size(2), q.size(1), k.size(1)));
  const Tensor out = at::empty(q.sizes(), q.options());
  if (!q.is_cpu()) {
    of_heads(out, q, k, v, factor, skip, block);
    return out;
  }
  std::vector<SkipSoftmax> counts;
  for (int64_t head = 0; head < q.size(2); ++head) counts.emplace_back(skip.lambda(), q.device());
  in_pieces(q.size(2), [&](int64_t head) {
    const auto of_head = [&](const Tensor& x) { return x.narrow(2, head, 1); };
    of_heads(of_head(out), of_head(q), of_head(k), of_head(v), factor, counts[size_t(head)], block);
  });
  for (const SkipSoftmax& one : counts) skip.counter().add_(one.counter());
  return out;
}

}  // namespace reference
}  // namespace wan::kernels
