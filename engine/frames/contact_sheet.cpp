#include "engine/frames/contact_sheet.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>

#include "engine/media/resize.h"

namespace wan {
namespace {

constexpr int64_t kGap = 4, kSmallest = 256, kLargest = 480;  // pixels between tiles; a tile's width
constexpr int kBackground = 24;                               // a dark grey

}  // namespace

ContactSheet::ContactSheet(int64_t frames, int64_t tiles, int64_t columns)
    : frames_(std::max<int64_t>(frames, 1)), tiles_(std::clamp<int64_t>(tiles, 1, frames_)), columns_(columns) {
  if (columns < 1) throw std::invalid_argument("[ContactSheet] columns must be at least 1");
}

void ContactSheet::add(const at::Tensor& frames) {
  for (int64_t i = 0; i < frames.size(0); ++i, ++seen_) {
    auto next = int64_t(picked_.size());
    if (next >= tiles_) continue;
    int64_t wanted = tiles_ == 1 ? frames_ / 2 : next * (frames_ - 1) / (tiles_ - 1);
    if (seen_ != wanted) continue;
    at::Tensor tile = frames[i];
    int64_t height = tile.size(0), width = tile.size(1), times = kSmallest / width;
    if (times > 1) tile = tile.repeat_interleave(times, 0).repeat_interleave(times, 1);
    if (width > kLargest) tile = resize_pillow(tile, std::max<int64_t>(1, height * kLargest / width), kLargest);
    picked_.push_back(tile.clone());  // a view would keep the whole chunk alive
  }
}

void ContactSheet::take(const Frames& frames, const FrameSink& next) {
  add(frames.rgb);
  next(frames);
}

at::Tensor ContactSheet::image() const {
  if (picked_.empty()) throw std::logic_error("[ContactSheet] no frame came");
  auto tiles = int64_t(picked_.size()), columns = std::min(columns_, tiles), rows = (tiles + columns - 1) / columns;
  int64_t height = picked_[0].size(0), width = picked_[0].size(1);
  at::Tensor sheet =
      at::full({rows * (height + kGap) + kGap, columns * (width + kGap) + kGap, 3}, kBackground, at::kByte);
  for (int64_t i = 0; i < tiles; ++i) {
    int64_t top = kGap + i / columns * (height + kGap), left = kGap + i % columns * (width + kGap);
    sheet.narrow(0, top, height).narrow(1, left, width).copy_(picked_[size_t(i)]);
  }
  return sheet;
}

}  // namespace wan
