// Attention with 8-bit queries and keys and 16-bit values ("8+16"). Relative L2 error 1.7e-3 to 2.2e-3 where that of
// 16-bit attention is 1.7e-3.
#pragma once

#include <ATen/core/Tensor.h>

namespace wan::kernels {

using at::Tensor;

/// Heads as 8-bit codes, head by head: codes [B, H, L, 128] int8; scale [B, H, L] float32 (queries: one a token) or
/// [B, H, ceil(L / 128)] (keys: one for 128 tokens). No scale is 0, whatever the head.
struct QuantisedHeads {
  Tensor codes, scale;
};

/// q [B, L, H, 128] bfloat16 or float16; the scales carry `factor` (the softmax scale times log2 e).
QuantisedHeads quantise_queries(const Tensor& q, double factor);
/// k - centre; a softmax does not change when all keys move alike, so any centre [B, H, 128] float32 is exact. The mean
/// of the keys takes most of their offset off the codes.
QuantisedHeads quantise_keys(const Tensor& k, const Tensor& centre);

/// softmax(q k^T * scale) v with q and k quantised.
///   q [B, Lq, H, 128], k and v [B, Lk, H, 128] bfloat16 or float16, strided views allowed; Lk >= 1
///   returns [B, Lq, H, 128] in q's dtype. Throws c10::Error on other shapes or dtypes.
Tensor attention_int8(const Tensor& q, const Tensor& k, const Tensor& v, double scale);

/// The same in ATen (see norm.h): the same codes, exact integer logits, weights rounded to v's dtype.
namespace reference {
QuantisedHeads quantise_queries(const Tensor& q, double factor);
QuantisedHeads quantise_keys(const Tensor& k, const Tensor& centre);
Tensor attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v);
}  // namespace reference

}  // namespace wan::kernels
