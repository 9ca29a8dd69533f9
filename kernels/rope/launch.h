// Arguments and launcher of norm and rotation (kernels/op/launch.h has the rules).
#pragma once

#include "kernels/op/launch.h"

namespace wan::kernels {

/// RMS norm over all heads (where `weight` is given), then rotation, of one or two tensors.
struct RopeArguments {
  const void* x[2];        // rows of `channels` elements, `row_stride` elements apart
  const float* weight[2];  // [channels], or null: no norm
  void* out[2];            // [rows, channels], contiguous
  int count;               // 1 or 2 tensors
  int64_t row_stride[2];
  const float *cos, *sin;  // [tokens, head_dim / 2]
  int64_t rows;            // batch * tokens
  int tokens, channels, head_dim;
  float eps;
};
cudaError_t launch_norm_rope(const RopeArguments& arguments, Element element, cudaStream_t stream);

}  // namespace wan::kernels
