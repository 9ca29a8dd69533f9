// Attention with 8-bit queries and keys, and 16-bit ("8+16") or 8-bit values ("8+8"). Relative L2 error 1.7e-3
// to 2.2e-3 with 16-bit values, where that of 16-bit attention is 1.7e-3; with 8-bit values up to 5e-3 where a row is a
// mean of many values and 2.6e-2 where it is one of them, whose 3 bits of mantissa then show.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/attention/float8.h"
#include "kernels/attention/skip_softmax.h"
#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// Width of the heads that 8-bit attention takes.
inline constexpr int64_t kInt8HeadWidth = 128;

/// Heads as 8-bit codes, head by head: codes [B, H, L, 128] int8; scale [B, H, L] float32 (queries: one a token) or
/// [B, H, ceil(L / 128)] (keys: one for 128 tokens). No scale is 0, whatever the head.
struct QuantisedHeads {
  Tensor codes, scale;
};

/// q [B, L, H, 128] bfloat16 or float16; the scales carry `factor` (the softmax scale times log2 e).
QuantisedHeads quantise_queries(const Tensor& q, double factor, const Context& context = default_context());
/// k - centre; a softmax does not change when all keys move alike, so any centre [B, H, 128] float32 is exact. The mean
/// of the keys takes most of their offset off the codes.
QuantisedHeads quantise_keys(const Tensor& k, const Tensor& centre, const Context& context = default_context());

/// Of each channel of each head of v [B, L, H, 128], [B, H, 128] float32: v = code * scale and code = v * inverse,
/// codes up to `largest_code`. A channel of zeros has both 0; one with a NaN or an infinity has a scale that is not
/// finite.
struct ValueScales {
  Tensor scale, inverse;
};
ValueScales value_scales(const Tensor& v, float largest_code);

/// What weights and values are multiplied in: v's dtype, or e4m3 with a scale for each channel of a head.
enum class Values { Plain, Float8 };

/// softmax(q k^T * scale) v with q and k quantised, and v where `values` says so.
///   q [B, Lq, H, 128], k and v [B, Lk, H, 128] of one dtype (float32, bfloat16, float16), strided views allowed; Lk >= 1.
/// Returns [B, Lq, H, 128] in q's dtype. Throws c10::Error on other shapes or dtypes.
/// On a GPU whose mma.sync has no 8-bit floats of its own (all but sm_89, sm_120 and newer) the values stay plain,
/// unless wgmma is on (Options::wgmma). 8-bit weights and values are summed as the context's sums() choose, else in
/// float32. With `skip`, blocks are left out by its rule; the reference has those of
/// mma.sync.
Tensor attention_int8(const Tensor& q, const Tensor& k, const Tensor& v, double scale, Values values = Values::Plain,
                      const Context& context = default_context(), SkipSoftmax* skip = nullptr);

/// The same in ATen (see norm.h): the same codes, exact integer logits, weights rounded to the dtype of the values.
namespace reference {
QuantisedHeads quantise_queries(const Tensor& q, double factor);
QuantisedHeads quantise_keys(const Tensor& k, const Tensor& centre);
/// Values as e4m3 codes [B, L, H, 128] and the scale of each channel [B, H, 128] float32.
QuantisedHeads quantise_values(const Tensor& v, float largest_code);
/// `sums` says in which range 8-bit weights and values lie; the sums themselves are float32. Where `skip` is given it
/// leaves out such blocks.
Tensor attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v, Values values = Values::Plain,
                      Sums sums = Sums::Float, SkipSoftmax* skip = nullptr,
                      const SkipBlock& block = skip_block(Instructions::Mma));
}  // namespace reference

}  // namespace wan::kernels
