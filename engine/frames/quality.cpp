#include "engine/frames/quality.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <type_traits>

namespace wan {
namespace {

// BT.709 in 256ths: luma of 8 bits stays an integer.
constexpr int64_t kRed = 54, kGreen = 183, kBlue = 19;
constexpr double kLevel = 256.0 * CellFrame::kPixels;  // of a cell's luma in these integers
constexpr double kCut = 25;                            // levels of mean change between two scenes
constexpr double kMostLevels = 255;
constexpr int64_t kMostSecond = 240;  // frames that a second has at most here
constexpr double kSizesPerDoubling = 8, kDoublingsBelow = 8;
constexpr double kVersion = 1;  // of the saved state

size_t size_of(double change) {
  if (change <= 0) return 0;
  return size_t(std::clamp((std::log2(change) + kDoublingsBelow) * kSizesPerDoubling, 0.0, 127.0));
}

/// Where the changes of a size begin; 0 for the smallest, which has those of nothing, too.
double least_of(size_t size) {
  return size == 0 ? 0 : std::exp2(double(size) / kSizesPerDoubling - kDoublingsBelow);
}

double middle_of(size_t size) {
  return size == 0 ? 0 : std::exp2((double(size) + 0.5) / kSizesPerDoubling - kDoublingsBelow);
}

template <typename Histogram>
int64_t count(const Histogram& sizes) {
  int64_t sum = 0;
  for (const int64_t times : sizes) sum += times;
  return sum;
}

/// The change that a share of them does not exceed.
template <typename Histogram>
double quantile(const Histogram& sizes, double share) {
  const double wanted = share * double(count(sizes));
  int64_t sum = 0;
  for (size_t size = 0; size < sizes.size(); ++size)
    if (double(sum += sizes[size]) >= wanted && sum > 0) return middle_of(size);
  return 0;
}

/// A value over all cells.
struct Spread {
  int64_t sum = 0, squares = 0, most = 0;

  void add(int64_t value) {
    sum += value;
    squares += value * value;
    most = std::max(most, value);
  }
  double mean() const { return double(sum) / CellFrame::kCells / kLevel; }
  double deviation() const {
    const double mean = double(sum) / CellFrame::kCells;
    return std::sqrt(std::max(0.0, double(squares) / CellFrame::kCells - mean * mean)) / kLevel;
  }
};

}  // namespace

void QualityStep::lay(int64_t height, int64_t width) {
  const auto spread = [](int64_t count, int64_t size) {
    std::vector<int64_t> places(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) places[size_t(i)] = (2 * i + 1) * size / (2 * count);
    return places;
  };
  rows_ = spread(CellFrame::kRows * CellFrame::kTall, height);
  columns_ = spread(CellFrame::kColumns * CellFrame::kWide, width);
  for (int64_t& row : rows_) row *= 3 * width;
  for (int64_t& column : columns_) column *= 3;
  height_ = height;
  width_ = width;
}

CellFrame QualityStep::cells_of(const uint8_t* rgb) const {
  CellFrame frame;
  int32_t* cell = frame.sums.data();
  const int64_t* rows = rows_.data();
  for (int y = 0; y < CellFrame::kRows; ++y, rows += CellFrame::kTall) {
    const int64_t* columns = columns_.data();
    for (int x = 0; x < CellFrame::kColumns; ++x, columns += CellFrame::kWide, cell += 3) {
      int32_t red = 0, green = 0, blue = 0;
      for (int i = 0; i < CellFrame::kTall; ++i)
        for (int j = 0; j < CellFrame::kWide; ++j) {
          const uint8_t* const pixel = rgb + rows[i] + columns[j];
          red += pixel[0];
          green += pixel[1];
          blue += pixel[2];
        }
      cell[0] = red;
      cell[1] = green;
      cell[2] = blue;
    }
  }
  return frame;
}

QualityStep::Look QualityStep::look_at(const CellFrame& frame) {
  Spread luma, blue, red;
  int64_t saturation = 0;
  for (size_t i = 0; i < frame.sums.size(); i += 3) {
    const int64_t r = frame.sums[i], g = frame.sums[i + 1], b = frame.sums[i + 2];
    const int64_t y = kRed * r + kGreen * g + kBlue * b, from_blue = 256 * b - y, from_red = 256 * r - y;
    luma.add(y);
    blue.add(from_blue);
    red.add(from_red);
    saturation += std::abs(from_blue) + std::abs(from_red);
  }
  Look look;
  look.means = {.luma = luma.mean(),
                .blue = blue.mean(),
                .red = red.mean(),
                .saturation = double(saturation) / 2 / CellFrame::kCells / kLevel};
  look.bright = double(luma.most) / kLevel;
  look.black = look.means.luma < kBlackMean && look.bright < kBlackPeak;
  look.flat = !look.black && std::max({luma.deviation(), blue.deviation(), red.deviation()}) < kFlatDeviation;
  return look;
}

/// With the frame before.
void QualityStep::compare(const CellFrame& frame, const Look& look) {
  int32_t sum = 0, most = 0;  // 6,912 sums of 8 bytes stay far below 2^31
  for (size_t i = 0; i < frame.sums.size(); ++i) {
    sum += std::abs(frame.sums[i] - frame_.sums[i]);
    most = std::max(most, std::abs(frame.sums[i] - still_frame_.sums[i]));
  }
  const double change = double(sum) / (3.0 * CellFrame::kCells * CellFrame::kPixels);
  // Black and flat frames are equal to each other, and are told as what they are.
  const bool equal = double(most) <= kEqualCell * CellFrame::kPixels && !empty_ && !look.black && !look.flat;
  still_ = equal ? still_ + 1 : 1;
  if (!equal) still_frame_ = frame;
  longest_ = std::max(longest_, still_);
  if (border_) {
    ++clips_;
    ++borders_[size_of(change)];
    if (change > border_change_) border_change_ = change, border_frame_ = seen_;
    return;
  }
  ++inside_[size_of(change)];
  if (change < kCut) return;
  shift_.luma += look.means.luma - means_.luma;
  shift_.blue += look.means.blue - means_.blue;
  shift_.red += look.means.red - means_.red;
  shift_.saturation += look.means.saturation - means_.saturation;
}

/// The mean luma goes up and down in turns where its second difference changes its sign from frame to frame. A quarter
/// of it is how far a frame lies from the middle of a wave of two frames.
void QualityStep::turn(double luma) {
  if (seen_ >= 2) {
    const double bend = (luma - 2 * before_ + before_that_) / 4;
    const bool turns = bend * bend_ < 0 && std::min(std::abs(bend), std::abs(bend_)) >= kFlickerLevels;
    turns_ += turns;
    bend_ = bend;
  }
  before_that_ = before_;
  before_ = luma;
}

/// For the first second and the last.
void QualityStep::keep(const Look& look) {
  const Means now = {.luma = look.means.luma - shift_.luma,
                     .blue = look.means.blue - shift_.blue,
                     .red = look.means.red - shift_.red,
                     .saturation = look.means.saturation - shift_.saturation};
  const size_t second = window();
  if (first_.size() < second) first_.push_back(now);
  if (last_.size() < second)
    last_.push_back(now);
  else
    last_[size_t(seen_) % second] = now;
}

/// Frames in a second.
size_t QualityStep::window() const {
  return size_t(std::clamp(int64_t(std::ceil(rate_.value())), int64_t(1), kMostSecond));
}

void QualityStep::add(const uint8_t* rgb, int64_t height, int64_t width) {
  if (height != height_ || width != width_) lay(height, width);
  const CellFrame frame = cells_of(rgb);
  const Look look = look_at(frame);
  if (seen_ > 0)
    compare(frame, look);
  else
    still_frame_ = frame;
  border_ = false;
  black_ += look.black;
  flat_ += look.flat;
  turn(look.means.luma);
  keep(look);
  means_ = look.means;
  empty_ = look.black || look.flat;
  frame_ = frame;
  ++seen_;
}

void QualityStep::take(const Frames& frames, const FrameSink& next) {
  const at::Tensor& rgb = frames.rgb;
  if (rgb.dim() != 4 || rgb.size(3) != 3 || rgb.size(1) < 1 || rgb.size(2) < 1 || rgb.scalar_type() != at::kByte ||
      !rgb.is_cpu() || !rgb.is_contiguous())
    throw std::invalid_argument("[QualityStep] frames must be uint8 [t, H, W, 3] on the CPU, contiguous");
  if (seen_ == 0) rate_ = frames.rate;
  const int64_t bytes = rgb.size(1) * rgb.size(2) * 3;
  for (int64_t i = 0; i < rgb.size(0); ++i) add(rgb.const_data_ptr<uint8_t>() + i * bytes, rgb.size(1), rgb.size(2));
  next(frames);
}

QualityNumbers QualityStep::result() const {
  QualityNumbers q;
  q.frames = seen_;
  q.black_frames = black_;
  q.flat_frames = flat_;
  q.frozen_frames = longest_ > 1 ? longest_ : 0;
  q.frozen_seconds = rounded(double(q.frozen_frames) / rate_.value());
  q.flicker_frames = turns_;
  q.clips = clips_;
  q.usual_change = rounded(quantile(inside_, 0.5));
  // Of a video below two seconds its first and last third.
  const size_t second = std::min(window(), size_t(seen_ / 3));
  // What cuts changed in all is taken off; beyond the levels of a picture the rest of it is no drift of anything.
  const bool joined = std::max({std::abs(shift_.luma), std::abs(shift_.blue), std::abs(shift_.red),
                                std::abs(shift_.saturation)}) <= kMostLevels;
  if (joined && second > 0 && first_.size() >= second) {
    const auto mean = [&](const auto& value_of) {
      double sum = 0;
      for (size_t i = 0; i < second; ++i) sum += value_of(i);
      return sum / double(second);
    };
    // Frame n of the stream lies at n modulo the ring's length.
    const auto late = [&](size_t i) { return last_[(size_t(seen_) - second + i) % last_.size()]; };
    const auto drift = [&](double Means::*value) {
      return mean([&](size_t i) { return late(i).*value; }) - mean([&](size_t i) { return first_[i].*value; });
    };
    q.brightness_drift = rounded(drift(&Means::luma));
    q.colour_drift =
        rounded(std::max(std::hypot(drift(&Means::blue), drift(&Means::red)), std::abs(drift(&Means::saturation))));
  }
  if (clips_ < 2) return q;
  q.seam_change = rounded(border_change_);
  q.seam_frame = border_frame_;
  const double limit =
      std::max({kSeamLevels, kSeamTimesMedian * quantile(inside_, 0.5), kSeamTimesMost * quantile(inside_, 0.95)});
  if (count(inside_) < kSeamPairs || border_change_ < limit) return q;
  for (size_t size = 0; size < borders_.size(); ++size)
    if (least_of(size) >= limit) q.seams += borders_[size];
  q.seams = std::max<int64_t>(q.seams, 1);  // of the largest the change itself is known
  return q;
}

/// Every value of the state in its order.
template <typename Self, typename Visit>
void QualityStep::visit(Self& self, Visit visit) {
  const auto means = [&](auto& of) {
    for (const auto value : {&Means::luma, &Means::blue, &Means::red, &Means::saturation}) visit(of.*value);
  };
  for (auto* value : {&self.seen_, &self.black_, &self.flat_, &self.rate_.numerator, &self.rate_.denominator,
                      &self.still_, &self.longest_, &self.turns_, &self.clips_, &self.border_frame_})
    visit(*value);
  for (auto* value : {&self.before_, &self.before_that_, &self.bend_, &self.border_change_}) visit(*value);
  for (auto* value : {&self.empty_, &self.border_}) visit(*value);
  means(self.shift_);
  means(self.means_);
  for (auto* list : {&self.first_, &self.last_}) {
    double size = double(list->size());
    visit(size);
    if constexpr (!std::is_const_v<Self>) {
      if (!(size >= 0 && size <= double(kMostSecond))) throw std::invalid_argument("[QualityStep] no such state");
      list->resize(size_t(size));
    }
    for (auto& of : *list) means(of);
  }
  for (auto* sizes : {&self.inside_, &self.borders_})
    for (auto& times : *sizes) visit(times);
  for (auto& sum : self.frame_.sums) visit(sum);
  for (auto& sum : self.still_frame_.sums) visit(sum);
}

at::Tensor QualityStep::state() const {
  std::vector<double> values = {kVersion};
  visit(*this, [&](const auto& value) { values.push_back(double(value)); });
  return at::tensor(values, at::kDouble);
}

void QualityStep::restore(const at::Tensor& state) {
  const auto fail = [] { throw std::invalid_argument("[QualityStep] no such state"); };
  if (state.dim() != 1 || state.scalar_type() != at::kDouble || !state.is_cpu()) fail();
  const at::Tensor values = state.contiguous();
  const double* const from = values.const_data_ptr<double>();
  int64_t at = 0;
  const auto next = [&] {
    if (at == values.numel()) fail();
    return from[at++];
  };
  if (next() != kVersion) fail();
  visit(*this, [&](auto& value) { value = static_cast<std::remove_reference_t<decltype(value)>>(next()); });
  if (at != values.numel() || rate_.denominator <= 0 || rate_.numerator <= 0) fail();
}

}  // namespace wan
