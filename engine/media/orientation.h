// How a picture was held: the Exif tag of images and the display matrix of videos, as one of Exif's eight orientations.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/media/bytes.h"

namespace wan {

/// The orientation (1 to 8) that Exif states, which has the form of a TIFF file; 1 where none or nonsense is stated.
int exif_orientation(Bytes exif);

/// The orientation that an MP4 display matrix (3x3, row vectors, 16.16 fixed point) describes; null: 1. Turns that are
/// no multiple of 90 degrees count as none.
int matrix_orientation(const int32_t* matrix);

/// rgb [H, W, 3] turned upright, contiguous: 5 to 8 exchange H and W. Same numbers as PIL's ImageOps.exif_transpose.
at::Tensor upright(const at::Tensor& rgb, int orientation);

}  // namespace wan
