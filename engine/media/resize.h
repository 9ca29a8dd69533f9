// The resizes of the reference pipelines, each with the filter and the rounding of the library it calls.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace wan {

/// uint8 [H, W, 3] -> float32 [3, height, width] in about [-1, 1]: (u8/255 - 0.5)/0.5, then bicubic with a = -0.75, no
/// antialiasing even when shrinking, not clamped, aspect not kept. Source: wan/image2video.py.
at::Tensor resize_bicubic(const at::Tensor& rgb, int64_t height, int64_t width);

enum class Filter { Triangle, Bicubic, Lanczos };  // PIL's BILINEAR, BICUBIC (a = -0.5) and LANCZOS

/// uint8 [H, W, 3] -> uint8 [height, width, 3], bit-identical to PIL's Image.resize: antialiased, columns first with a
/// result of 8 bits, then rows, in fixed point. (Pillow 13 takes rows first where the height shrinks much more than the
/// width; the reference is older.)
at::Tensor resize_pillow(const at::Tensor& rgb, int64_t height, int64_t width, Filter filter = Filter::Triangle);

/// uint8 [H, W, 3] -> uint8 [height, width, 3] that the picture covers whole: the largest centred part of the wanted
/// shape (its edges may lie within pixels), resized by Lanczos. Bit-identical to PIL's ImageOps.fit(..., LANCZOS), the
/// filter of diffusers' VideoProcessor.
at::Tensor resize_cover(const at::Tensor& rgb, int64_t height, int64_t width);

/// What image processors of transformers cut out of a picture: resized so that the shorter side becomes `shorter` and the
/// longer int(shorter * longer / shorter side), then the centre, its first row and column rounded down.
/// uint8 [H, W, 3] -> uint8 [height, width, 3], neither above `shorter`. Source: transformers 4.57.6, image_transforms.py
/// (get_resize_output_image_size, resize, center_crop).
at::Tensor resize_centre(const at::Tensor& rgb, int64_t shorter, int64_t height, int64_t width, Filter filter);

/// The reference image of speech-to-video: triangle resize so that the shorter side becomes min(height, width) and
/// the longer int(min * longer / shorter), then centre crop, or black bars where it is too small.
/// uint8 [H, W, 3] -> uint8 [height, width, 3]. Source: torchvision Resize and CenterCrop on PIL images,
/// speech2video.py.
at::Tensor resize_shorter_side(const at::Tensor& rgb, int64_t height, int64_t width);

/// The same for pose frames, as the reference treats them: in float without rounding, and bars of mid grey (0).
/// uint8 [t, H, W, 3] -> float32 [3, t, height, width] in [-1, 1]. Source: load_pose_cond, speech2video.py.
at::Tensor resize_shorter_side_float(const at::Tensor& frames, int64_t height, int64_t width);

}  // namespace wan
