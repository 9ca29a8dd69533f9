#include "kernels/attention/int8_attention_cuda.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/launch.h"
#include "kernels/attention/skip_arguments.h"
#include "kernels/op/binding.h"

namespace wan::kernels::cuda {
namespace {

constexpr int kMaxGridHeads = 65535;  // heads and batch are the second and third axis of a grid

/// True where the kernels read x [B, L, H, 128] as it lies.
bool takes_strides(const Tensor& x, const Context& context) {
  auto whole = [](int64_t stride) { return stride % 8 == 0; };
  return use_fused(x, context) && takes_head(x.size(3), x.scalar_type()) && x.numel() > 0 && x.stride(3) == 1 &&
         whole(x.stride(0)) && whole(x.stride(1)) && whole(x.stride(2)) && is_aligned(x) &&
         x.size(0) <= kMaxGridHeads && x.size(2) <= kMaxGridHeads && x.size(1) <= INT32_MAX - kInt8KeyBlock;
}

/// Whether the copy engine counts the rows of these heads: those of all heads together are a 32-bit coordinate, and a
/// channel of each tile of coded values is one.
bool takes_boxes(const Tensor& queries, const Tensor& v) {
  const int64_t heads = v.size(0) * v.size(2), keys = v.size(1) + kInt8KeyBlock;
  return has_wgmma(v.device()) && heads * std::max(queries.size(2) + kInt8KeyBlock, 2 * keys) <= INT32_MAX;
}

AttentionArguments::Strided strided(const Tensor& x) {
  return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

}  // namespace

std::optional<QuantisedHeads> quantise_heads(const Tensor& x, const Tensor& centre, double factor,
                                             const Context& context) {
  if (!takes_strides(x, context)) return std::nullopt;
  const int64_t batch = x.size(0), tokens = x.size(1), heads = x.size(2);
  const Tensor offset = as_floats(centre);
  const int64_t scales = centre.defined() ? (tokens + kInt8KeyBlock - 1) / kInt8KeyBlock : tokens;
  QuantisedHeads out = {at::empty({batch, heads, tokens, x.size(3)}, x.options().dtype(at::kChar)),
                        at::empty({batch, heads, scales}, x.options().dtype(at::kFloat))};
  const QuantiseHeadsArguments a{
      strided(x),  floats(offset), out.codes.data_ptr<int8_t>(), out.scale.data_ptr<float>(), int(batch), int(heads),
      int(tokens), float(factor)};
  launch_on(x, [&](cudaStream_t stream) { return launch_quantise_heads(a, element_of(x.scalar_type()), stream); });
  return out;
}

std::optional<CodedValues> code_values(const Tensor& v, Sums sums, const Context& context) {
  if (!takes_strides(v, context) || architecture(v.device()) < kFloat8Architecture) return std::nullopt;
  const int64_t batch = v.size(0), tokens = v.size(1), heads = v.size(2);
  const int64_t tiles = (tokens + kInt8KeyBlock - 1) / kInt8KeyBlock * (kInt8KeyBlock / kAttentionKeyBlock);
  const ValueScales scales = value_scales(v, float8_range(sums).value);
  CodedValues out = {at::empty({batch, heads, tiles, v.size(3), kAttentionKeyBlock}, v.options().dtype(at::kByte)),
                     scales.scale};
  const QuantiseValuesArguments a{
      strided(v), floats(scales.inverse), out.codes.data_ptr<uint8_t>(), int(batch), int(heads), int(tokens)};
  launch_on(v, [&](cudaStream_t stream) { return launch_quantise_values(a, element_of(v.scalar_type()), stream); });
  return out;
}

std::optional<Tensor> attend_codes(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                                   const std::optional<CodedValues>& coded, const Int8Way& way,
                                   const Context& context) {
  if (!takes_arrays(q.codes, {q.scale, k.codes, k.scale}, context) || !takes_strides(v, context)) return std::nullopt;
  const bool float8 = way.values == Values::Float8, boxes = way.instructions == Instructions::Wgmma;
  if ((float8 && !coded) || (boxes && !takes_boxes(q.codes, v))) return std::nullopt;
  const Tensor plain = boxes && !is_nested(v) ? v.contiguous() : v;
  Tensor out = at::empty({v.size(0), q.codes.size(2), v.size(2), v.size(3)}, v.options());
  Int8AttentionArguments a{};
  a.q = q.codes.const_data_ptr<int8_t>();
  a.k = k.codes.const_data_ptr<int8_t>();
  a.q_scale = floats(q.scale);
  a.k_scale = floats(k.scale);
  if (float8) {
    a.v_codes = coded->codes.const_data_ptr<uint8_t>();
    a.v_scale = floats(coded->scale);
  } else {
    a.v = strided(plain);
  }
  a.out = out.data_ptr();
  a.batch = int(v.size(0));
  a.heads = int(v.size(2));
  a.queries = int(q.codes.size(2));
  a.keys = int(v.size(1));
  a.skip = skip_arguments(way.skip, way.instructions, a);
  const Element element = element_of(v.scalar_type());
  launch_on(v, [&](cudaStream_t stream) {
    if (boxes) return launch_int8_attention_sm90(a, element, stream);
    return float8 ? launch_int8_fp8_attention(a, element, way.sums, stream) : launch_int8_attention(a, element, stream);
  });
  return out;
}

std::optional<Tensor> attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                                     const Int8Way& way, const Context& context) {
  std::optional<CodedValues> coded;
  if (way.values == Values::Float8 && !(coded = code_values(v, way.sums, context))) return std::nullopt;
  return attend_codes(q, k, v, coded, way, context);
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels: nothing is taken

namespace wan::kernels::cuda {

std::optional<QuantisedHeads> quantise_heads(const Tensor&, const Tensor&, double, const Context&) {
  return std::nullopt;
}

std::optional<CodedValues> code_values(const Tensor&, Sums, const Context&) {
  return std::nullopt;
}

std::optional<Tensor> attend_codes(const QuantisedHeads&, const QuantisedHeads&, const Tensor&,
                                   const std::optional<CodedValues>&, const Int8Way&, const Context&) {
  return std::nullopt;
}

std::optional<Tensor> attention_int8(const QuantisedHeads&, const QuantisedHeads&, const Tensor&, const Int8Way&,
                                     const Context&) {
  return std::nullopt;
}

}  // namespace wan::kernels::cuda

#endif
