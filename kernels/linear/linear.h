// Matrix products with a weight in whatever storage residency chose.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

enum class Activation { None, GeluTanh, Silu };

/// y = activation(x W^T + b) in x's dtype; the weight is converted at use where its dtype differs (CPU, mapped files).
///   x [..., in]; weight [out, in]; bias [out] or undefined.
/// The GELU is the tanh form on every device.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation = Activation::None,
              const Context& context = default_context());

/// The same in ATen (see norm.h).
namespace reference {
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation = Activation::None);
/// `y`, contiguous, with the activation applied in place.
Tensor activated(const Tensor& y, Activation activation);
}  // namespace reference

}  // namespace wan::kernels
