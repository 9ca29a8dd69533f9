// Image files to tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/media/media_file.h"

namespace wan {

constexpr int64_t kMostImageBytes = 256 << 20;
constexpr int64_t kMostImagePixels = 200'000'000;

/// Reads a PNG, JPEG, WebP, BMP, TIFF or GIF file (animations: the first frame) as uint8 [H, W, 3] RGB, contiguous.
/// Exif orientation is applied, alpha dropped as PIL's convert("RGB") does, 16 bits a channel cut to their upper 8.
/// Throws InvalidRequest naming the file's field where the file is none of these, is damaged or truncated, or exceeds the limits
/// above. The kind is told by the file's first bytes, never by its name. Source: Image.open(path).convert("RGB"),
/// generate.py.
at::Tensor read_image(const MediaFile& file);

}  // namespace wan
