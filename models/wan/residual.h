// The residual of a forward: what the blocks add to the tokens. A step cache keeps it (engine/sampling/step_cache.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace wan {

using at::Tensor;

/// Tokens behind the last block [1, n, dim] float32, less those before the first, in `dtype`. `embedded` is written to: at
/// 720p another tensor of its size would be 1.5 GB.
Tensor residual_of(const Tensor& tokens, Tensor embedded, at::ScalarType dtype);

/// `embedded` [1, n, dim] float32 plus a residual, in place: the tokens behind the last block of a step that computes none.
Tensor with_residual(Tensor embedded, const Tensor& residual);

}  // namespace wan
