// Decoded pictures to RGB. Included by this folder's .cpp files only.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/media/av.h"

namespace wan::av {

/// Converts pictures of any pixel format to uint8 [height, width, 3] RGB, contiguous. Colour matrix, range and chroma
/// position are the picture's own; where a video does not state its matrix, BT.709 from 720 lines on and BT.601 below,
/// as players do; an image's is BT.601 (JPEG). Alpha is dropped without compositing, as PIL's convert("RGB") does.
class RgbConverter {
 public:
  enum class Kind { Image, Video };
  explicit RgbConverter(Kind kind) : kind_(kind) {}

  /// Another size than the picture's is reached by bicubic scaling. Throws std::runtime_error on impossible formats.
  at::Tensor operator()(const AVFrame& picture, int64_t height, int64_t width);

 private:
  void prepare(const AVFrame& picture, int64_t height, int64_t width);
  Kind kind_;
  Scaler scaler_;
  int made_for_[8] = {};  // what scaler_ was made for: files may change size or format midway
};

}  // namespace wan::av
