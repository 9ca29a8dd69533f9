// Decoded pictures to RGB. Included by this folder's .cpp files only.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "engine/media/av.h"
#include "engine/media/colour.h"
#include "engine/media/filter_graph.h"

namespace wan::av {

/// Converts pictures of any pixel format to uint8 [height, width, 3] RGB, contiguous. Colour matrix, range and chroma
/// position are the picture's own; what is made of other colours, and of tags that it lacks: colours_of. Alpha is dropped
/// without compositing, as PIL's convert("RGB") does.
class RgbConverter {
 public:
  using Kind = PictureKind;
  /// `peak_nits`: the brightest light of an HDR video, where its container states it; else 0.
  explicit RgbConverter(Kind kind, double peak_nits = 0) : kind_(kind), peak_nits_(peak_nits) {}

  /// Another size than the picture's is reached by bicubic scaling. Throws UnreadableColours, and std::runtime_error on
  /// impossible formats.
  at::Tensor operator()(const AVFrame& picture, int64_t height, int64_t width);
  /// Throws UnreadableColours as the conversion would.
  void check(const AVFrame& picture);
  /// What was assumed or converted so far, each once: text, and how to have it otherwise.
  const std::vector<std::pair<std::string, std::string>>& told() const { return told_; }

 private:
  Colours way_of(const AVFrame& picture);
  Frame filtered(const AVFrame& picture, const std::string& filters);
  void prepare(const AVFrame& picture, int matrix, int64_t height, int64_t width);
  at::Tensor scaled(const AVFrame& picture, int matrix, int64_t height, int64_t width);

  Kind kind_;
  double peak_nits_;
  std::vector<std::pair<std::string, std::string>> told_;
  std::optional<FilterGraph> graph_;
  std::string graph_filters_;
  Scaler scaler_;
  int made_for_[9] = {};  // what scaler_ was made for: files may change size or format midway
};

}  // namespace wan::av
