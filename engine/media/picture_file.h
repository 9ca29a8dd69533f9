// A picture that is replaced while others look at it.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace wan {

/// Puts uint8 [H, W, 3] RGB (CPU) in the place of what is at `path`, by a rename and without waiting for the disk: who
/// reads it sees the picture before or this one, whole. A JPEG where the name ends in .jpg or .jpeg, in letters of either
/// case, else a PNG. Throws std::invalid_argument on another shape or dtype, std::runtime_error with path and errno text
/// where it cannot.
void replace_picture(const std::string& path, const at::Tensor& rgb);

}  // namespace wan
