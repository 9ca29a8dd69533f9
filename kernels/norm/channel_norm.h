// The VAE's norm and activation, written straight into the input window of the convolution that follows.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// out = silu(x / max(||x||_2, 1e-12) * sqrt(C) * gamma), the norm over the channels of one pixel, in float32 (float64
/// where x is). `activate` false leaves SiLU out: the norm before attention.
///   x, out [..., C], equal sizes, contiguous, any float dtypes; out may be a slice of a larger buffer, or x itself
///   gamma [C], any float dtype
/// On the CPU a pixel's bits depend on neither the number of threads nor on how many pixels there are.
/// Throws c10::Error on other shapes or layouts. Source: RMS_norm, wan/modules/vae2_1.py.
void channel_norm_silu(const Tensor& x, const Tensor& gamma, bool activate, const Tensor& out,
                       const Context& context = default_context());

/// The same of x + bias, added in float32: what a convolution before has left out (conv3d without one), which would
/// take a pass over memory of its own.
///   bias [C], any float dtype; undefined: nothing is added
void biased_channel_norm_silu(const Tensor& x, const Tensor& bias, const Tensor& gamma, bool activate,
                              const Tensor& out, const Context& context = default_context());
/// Whether the norm of what is computed from x adds a bias at no cost: where it is one kernel.
bool adds_bias(const Tensor& x, const Context& context = default_context());

/// The same in ATen: any device, one pass over memory for each operation.
namespace reference {
void channel_norm_silu(const Tensor& x, const Tensor& gamma, bool activate, const Tensor& out);
void biased_channel_norm_silu(const Tensor& x, const Tensor& bias, const Tensor& gamma, bool activate,
                              const Tensor& out);
}  // namespace reference

}  // namespace wan::kernels
