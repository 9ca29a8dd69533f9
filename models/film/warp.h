// Operations of FILM on pixels. Tensors are [1, C, H, W] and lie channels last; an output may be some channels of a larger
// one, and some of its rows.
#pragma once

#include <ATen/core/Tensor.h>

namespace wan::film {

/// out(y, x) = source(y + scale * flow_y, x + scale * flow_x) between the four pixels around that place; places outside
/// are moved to the border.
///   out     [1, C, rows, W]  its rows are those of `flow` from `first_row` on
///   source  [1, C, H, W]     same dtype and device
///   flow    [1, 2, H, W]     x, y in pixels
/// The place is computed in float32 also where the dtype is float16, in which neighbouring columns would become one.
/// Throws c10::Error for other shapes.
void warp_into(const at::Tensor& out, const at::Tensor& source, const at::Tensor& flow, double scale,
               int64_t first_row);

/// What a picture of twice the size, each pixel repeated, is after a convolution of 2x2 pixels (below and to the right;
/// zeros outside), from the products of the pixels with each of the four taps: a quarter of the convolution's work.
///   out   [1, C, rows, 2W]  from row `first_row` on
///   taps  [H, W, 4, C]      contiguous; taps (0, 0), (0, 1), (1, 0), (1, 1) of row and column
/// Throws c10::Error for other shapes.
void double_into(const at::Tensor& out, const at::Tensor& taps, int64_t first_row);

}  // namespace wan::film
