// Frames and pictures as a safety checker takes them.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/safety/preprocessing.h"

namespace wan {

/// uint8 [H, W, 3] on the CPU -> float32 [1, 3, size, size], resized, scaled and normalised as the checker's file says. To
/// the bit what ViTImageProcessor and CLIPImageProcessor of transformers 4 make of it (those that resize by Pillow).
/// Throws std::invalid_argument for other shapes and dtypes.
at::Tensor safety_input(const at::Tensor& rgb, const safety::Preprocessing& how);

}  // namespace wan
