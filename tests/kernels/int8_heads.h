// What the tests of 8-bit attention share: heads like the transformer's, their codes through the shim, the right
// answer.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/attention/int8_attention.h"
#include "kernels/attention/quantise_heads.cuh"
#include "kernels/attention/quantise_values_sm89.cuh"
#include "tests/kernels/fused.h"

namespace wan::kernels {

inline constexpr int64_t kWidth = kAttentionHeadDim;
inline constexpr double kScale = 0.08838834764831845;  // 1 / sqrt(128)
inline AttentionArguments::Strided strided_view(const Tensor& x) {
  return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

inline Element element_of(const Tensor& x) {
  return x.scalar_type() == at::kHalf ? Element::Half : Element::BFloat16;
}

inline Tensor centre_of(const Tensor& k) {
  return k.mean(1, false, at::kFloat);
}

/// Through the shim; queries where `centre` is undefined.
inline QuantisedHeads run_quantise_heads(const Tensor& x, const Tensor& centre, double factor, simt::Order order) {
  const int64_t batch = x.size(0), tokens = x.size(1), heads = x.size(2);
  QuantisedHeads out = {at::full({batch, heads, tokens, kWidth}, -128, at::kChar),
                        poisoned({batch, heads, centre.defined() ? (tokens + 127) / 128 : tokens}, at::kFloat)};
  const QuantiseHeadsArguments a{strided_view(x),
                                 floats(centre),
                                 out.codes.data_ptr<int8_t>(),
                                 out.scale.data_ptr<float>(),
                                 int(batch),
                                 int(heads),
                                 int(tokens),
                                 float(factor)};
  quantise_heads::run_quantise_heads(a, element_of(x), simt::HostRunner{order});
  return out;
}

/// Through the shim; values whose codes go up to `largest_code`.
inline Tensor run_quantise_values(const Tensor& v, float largest_code, simt::Order order) {
  const int64_t blocks = (v.size(1) + kInt8KeyBlock - 1) / kInt8KeyBlock;
  Tensor codes = at::full({v.size(0), v.size(2), 2 * blocks, kWidth, kAttentionKeyBlock}, 0x7f, at::kByte);  // NaN
  const Tensor inverse = value_scales(v, largest_code).inverse;
  const QuantiseValuesArguments a{strided_view(v), floats(inverse), codes.data_ptr<uint8_t>(),
                                  int(v.size(0)),  int(v.size(2)),  int(v.size(1))};
  quantise_values::run_quantise_values(a, element_of(v), simt::HostRunner{order});
  return codes;
}

/// Everything but the values.
inline Int8AttentionArguments arguments_of(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                                           Tensor& out) {
  Int8AttentionArguments a{};
  a.q = q.codes.const_data_ptr<int8_t>();
  a.k = k.codes.const_data_ptr<int8_t>();
  a.q_scale = floats(q.scale);
  a.k_scale = floats(k.scale);
  a.out = out.data_ptr();
  a.batch = int(v.size(0));
  a.heads = int(v.size(2));
  a.queries = int(q.codes.size(2));
  a.keys = int(v.size(1));
  return a;
}

/// What attention is of: [B, L, H, 128].
struct Heads {
  Tensor q, k, v;
};

/// Slices of one merged product, as in the transformer; values have the mean 1.
inline Heads gaussian(int64_t batch, int64_t tokens, int64_t heads, at::ScalarType dtype = at::kBFloat16) {
  at::manual_seed(tokens + heads);
  Tensor qkv = at::randn({batch, tokens, heads, 3 * kWidth});
  qkv.narrow(3, 2 * kWidth, kWidth).add_(1);
  qkv = qkv.to(dtype);
  return {qkv.narrow(3, 0, kWidth), qkv.narrow(3, kWidth, kWidth), qkv.narrow(3, 2 * kWidth, kWidth)};
}

/// In float64.
inline Tensor wanted(const Heads& x, double scale = kScale) {
  return reference::attention(x.q.to(at::kDouble), x.k.to(at::kDouble), x.v.to(at::kDouble), scale);
}

}  // namespace wan::kernels
