// Our 16-bit attention, bound to tensors (kernels/norm/norm_cuda.h says what such functions have in common), and the
// choice among it and the libraries' on one GPU.
#pragma once

#include <memory>
#include <optional>

#include "kernels/attention/attention.h"
#include "kernels/attention/skip_softmax.h"

namespace wan::kernels {

/// Heads of our own attention.
bool takes_head(int64_t head_dim, at::ScalarType dtype);
/// Whether a copy engine's box reads x [B, L, H, D] as it lies: each stride passes over what is inside it and is a
/// multiple of that stride.
bool is_nested(const Tensor& x);
/// Whether each element of x lies less than 2^31 elements behind its first: ATen's memory-efficient attention multiplies
/// row and stride in 32 bits, and reads elsewhere beyond that.
bool spans_int32(const Tensor& x);

namespace cuda {

/// `bias` is undefined or [Lk], with wgmma or `skip` undefined. Layouts that the kernel does not read are copied
/// first. Where `skip` is given, blocks are left out and counted.
std::optional<Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias,
                                Instructions instructions = Instructions::Mma,
                                const Context& context = default_context(), SkipSoftmax* skip = nullptr);

/// cuDNN's, flash, memory-efficient and our own attention (kAttentionBackends) on this GPU, timed by its events and named
/// after its card and library versions. Off are Options::attention_off, and wgmma unless that is on. Null in builds
/// without kernels. Throws c10::Error for a name that is not among the back ends.
std::unique_ptr<AttentionSelector> attention_selector(at::Device device, const Options& options);
/// Whether 8-bit weights and values are summed in float32 or in half (kFloatSums, kHalfSums), by the whole of 8+8
/// attention with mma.sync and its quantisation. Half has its turn where it is within 3.5e-2 of the 16-bit reference on
/// sampled rows, and must be a twentieth faster. Null in builds without kernels and on a GPU without
/// has_float8_mma, where nothing is gained.
std::unique_ptr<AttentionSelector> sums_selector(at::Device device, const Options& options);

}  // namespace cuda
}  // namespace wan::kernels
