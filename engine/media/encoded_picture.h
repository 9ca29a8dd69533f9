// Pictures to the bytes of files.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace wan {

/// uint8 [H, W, 3] RGB (CPU) as a PNG. Equal pictures give equal bytes. Throws std::invalid_argument on another shape or
/// dtype, std::runtime_error where libavcodec cannot.
std::string encoded_png(const at::Tensor& rgb);
/// The same as a baseline JPEG of good quality, without subsampling of colours.
std::string encoded_jpeg(const at::Tensor& rgb);

}  // namespace wan
