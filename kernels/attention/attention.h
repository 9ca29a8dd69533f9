// Attention behind one call; which back end runs is chosen by measurement (kernels/attention/selector.h) and can be pinned.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// softmax(q k^T * scale + bias) v.
///   q [B, Lq, H, D], k and v [B, Lk, H, D]: float32 or bfloat16 (float64 on the CPU), strided views allowed
///   bias  undefined, [Lk] (a logit for each key) or [H, Lq, Lk] (T5's table), float32
///   returns [B, Lq, H, D] in q's dtype; softmax in float32
/// Memory on the CPU is bounded: queries are processed in blocks.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias = {},
                 const Context& context = default_context());

/// The same written out (products, softmax) over blocks of queries: any device, the oracle of the tests and the
/// fallback.
namespace reference {
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias = {});
}  // namespace reference

}  // namespace wan::kernels
