#include <ATen/ATen.h>

#include "kernels/cuda_binding.h"
#include "kernels/cuda_int8.h"
#include "kernels/launch_int8.h"

namespace wan::kernels::cuda {
namespace {

constexpr int kFloat8Architecture = 89;
constexpr int kMaxGridHeads = 65535;  // heads and batch are the second and third axis of a grid

/// True where the kernels read x [B, L, H, 128] as it lies.
bool takes_strides(const Tensor& x) {
  auto whole = [](int64_t stride) { return stride % 8 == 0; };
  return use_fused(x) && takes_head(x.size(3), x.scalar_type()) && x.numel() > 0 && x.stride(3) == 1 &&
         whole(x.stride(0)) && whole(x.stride(1)) && whole(x.stride(2)) && is_aligned(x) &&
         x.size(0) <= kMaxGridHeads && x.size(2) <= kMaxGridHeads && x.size(1) <= INT32_MAX - kInt8KeyBlock;
}

AttentionArguments::Strided strided(const Tensor& x) {
  return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

/// As launch_quantise_values leaves them.
struct CodedValues {
  Tensor codes, scale;
};

CodedValues coded_values(const Tensor& v, float largest_code) {
  const int64_t batch = v.size(0), tokens = v.size(1), heads = v.size(2);
  const int64_t tiles = (tokens + kInt8KeyBlock - 1) / kInt8KeyBlock * (kInt8KeyBlock / kAttentionKeyBlock);
  const ValueScales scales = value_scales(v, largest_code);
  CodedValues out = {at::empty({batch, heads, tiles, v.size(3), kAttentionKeyBlock}, v.options().dtype(at::kByte)),
                     scales.scale};
  const QuantiseValuesArguments a{
      strided(v), floats(scales.inverse), out.codes.data_ptr<uint8_t>(), int(batch), int(heads), int(tokens)};
  launch_on(v, [&](cudaStream_t stream) { return launch_quantise_values(a, element_of(v.scalar_type()), stream); });
  return out;
}

}  // namespace

int architecture(at::Device device) {
  int major = 0, minor = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device.index()));
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device.index()));
  return 10 * major + minor;
}

bool multiplies_float8(at::Device device) {
  const int own = architecture(device);
  return own == kFloat8Architecture || own >= 120;
}

std::optional<QuantisedHeads> quantise_heads(const Tensor& x, const Tensor& centre, double factor) {
  if (!takes_strides(x)) return std::nullopt;
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

std::optional<Tensor> attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v, Values values,
                                     Sums sums) {
  if (!takes_arrays(q.codes, {q.scale, k.codes, k.scale}) || !takes_strides(v)) return std::nullopt;
  if (values == Values::Float8 && architecture(v.device()) < kFloat8Architecture) return std::nullopt;
  const Element element = element_of(v.scalar_type());
  Tensor out = at::empty({v.size(0), q.codes.size(2), v.size(2), v.size(3)}, v.options());
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
  if (values == Values::Plain) {
    a.v = strided(v);
    launch_on(v, [&](cudaStream_t stream) { return launch_int8_attention(a, element, stream); });
    return out;
  }
  const CodedValues coded = coded_values(v, float8_range(sums).value);
  a.v_codes = coded.codes.const_data_ptr<uint8_t>();
  a.v_scale = floats(coded.scale);
  launch_on(v, [&](cudaStream_t stream) { return launch_int8_fp8_attention(a, element, sums, stream); });
  return out;
}

}  // namespace wan::kernels::cuda
