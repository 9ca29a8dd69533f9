// Frames as files hold them.
#pragma once

#include <ATen/core/Tensor.h>

namespace wan::vae {

/// frames [3, t, H, W] in [-1, 1] -> uint8 [t, H, W, 3], contiguous, same device: (x + 1) / 2 * 255, TRUNCATED as the
/// official writer does. Values outside are clamped; NaN becomes 0. Source: save_video, wan/utils/utils.py.
at::Tensor to_uint8(const at::Tensor& frames);

}  // namespace wan::vae
