// Fused or reference: decided in one place, from the tensor, the build and the user's switch.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/op/built.h"

namespace wan::kernels {

/// Whether this build holds the CUDA kernels (nvcc was there). Names in kernels/op/cuda.h exist only then.
#ifdef WAN_CUDA_KERNELS
inline constexpr bool kFusedBuilt = true;
#else
inline constexpr bool kFusedBuilt = false;
#endif

enum class Policy { Fused, Reference };
/// The process-wide switch. It begins as Reference where the environment has WAN_KERNELS=reference, else as Fused.
void set_policy(Policy policy);
Policy policy();

/// The instructions that a tensor-core kernel is made of: mma.sync, on sm_80 and newer, or wgmma, on sm_90 alone.
enum class Product { Mma, Wgmma };
/// What the kernels with wgmma are used for. They have not run on a GPU yet: only wan-bench and the tests launch them
/// (Measured) unless the environment has WAN_WGMMA=on, with which they stand for choice or come first; with
/// WAN_WGMMA=off nobody launches them.
enum class Wgmma { Off, Measured, On };
void set_wgmma(Wgmma use);
Wgmma wgmma();

/// True for a tensor on a GPU while the policy is Fused and x takes no part in a gradient: what libraries have fused
/// may run, on any card.
bool use_libraries(const at::Tensor& x);
/// The same, on a card for which this build holds kernels (sm_80 and newer).
bool use_fused(const at::Tensor& x);

// What the kernels take, as pure functions of widths and dtypes. What they do not take the reference does.

/// Dtypes of activations: float32, bfloat16, float16.
bool takes_dtype(at::ScalarType dtype);
/// Rows of RMSNorm, LayerNorm and residual.
bool takes_row(int64_t channels, at::ScalarType dtype);
/// Rows of q and k, normed over all heads and rotated in pairs.
bool takes_rope(int64_t heads, int64_t head_dim, at::ScalarType dtype);
/// Pixels of the VAE, from dtype to dtype.
bool takes_pixel(int64_t channels, at::ScalarType in, at::ScalarType out);
/// Whether a copy engine's box reads x [B, L, H, D] as it lies: each stride passes over what is inside it and is a
/// multiple of that stride.
bool is_nested(const at::Tensor& x);
/// Heads of our own attention (kernels/attention/attention_mma.cuh).
bool takes_head(int64_t head_dim, at::ScalarType dtype);
/// Rows that are rotated and quantised to 8 bits (kernels/linear/quantise.cuh).
bool takes_rotation(int64_t channels, at::ScalarType dtype);
/// Norms that end in 8-bit rows, behind a residual of `dtype` (kernels/norm/norm_int8.cuh).
bool takes_norm_int8(int64_t channels, at::ScalarType dtype);
/// 8-bit products from `depth` to `channels`, with activations of `dtype` (kernels/linear/int8_linear_mma.cuh).
bool takes_int8(int64_t depth, int64_t channels, at::ScalarType dtype);

}  // namespace wan::kernels
