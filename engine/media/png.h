// Pictures to PNG files.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace wan {

/// Writes uint8 [H, W, 3] RGB (CPU) as a PNG; the file appears whole or not at all, and equal pictures give equal
/// bytes. Throws std::invalid_argument on another shape or dtype, std::runtime_error with path and errno text where it
/// cannot.
void write_png(const std::string& path, const at::Tensor& rgb);

}  // namespace wan
