// Image files to tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/base/note.h"
#include "engine/media/media_file.h"

namespace wan {

constexpr int64_t kMostImageBytes = 256 << 20;
constexpr int64_t kMostImagePixels = 200'000'000;

/// Whether AVIF and HEIC are read: this program is built with libheif.
bool reads_heif();

/// Reads a PNG, JPEG, WebP, BMP, TIFF, GIF, JPEG 2000 or, where built with libheif, an AVIF or HEIC file (of animations
/// and pages the first) as uint8 [H, W, 3] RGB, contiguous.
/// The orientation stated in the file is applied, alpha dropped as PIL's convert("RGB") does, 16 bits a channel cut to
/// their upper 8; what is lost is told in `notes`, if given. Throws InvalidRequest naming the file's field where the
/// file is none of these, is damaged or truncated, exceeds the limits above or is of a kind that would come out wrong.
/// The kind is told by the file's first bytes, never by its name. Source: Image.open(path).convert("RGB"), generate.py.
at::Tensor read_image(const MediaFile& file, Notes* notes = nullptr);

}  // namespace wan
