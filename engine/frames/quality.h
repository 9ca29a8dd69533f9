// Looks at frames as they pass: how bright, how even, how different from the one before. Numbers for
// engine/request/quality.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "engine/frames/stream.h"
#include "engine/request/quality.h"

namespace wan {

/// A frame in 64 x 36 cells: sums of 4 x 2 pixels of each, spread evenly over it. Of a frame of 1280x720 that reads one
/// of 50 pixels, in 72 rows.
struct CellFrame {
  static constexpr int kColumns = 64, kRows = 36, kWide = 4, kTall = 2;
  static constexpr int kCells = kColumns * kRows, kPixels = kWide * kTall;
  std::array<int32_t, size_t(3 * kCells)> sums{};  // RGB of a cell beside each other, each from 0 to 255 * kPixels
};

/// Passes frames on as they are, and measures them. Nothing that it keeps grows with the stream: two frames of cells,
/// two seconds of means, and counts. It counts frames itself, so that it can go from stream to stream, as the clips of
/// a speech video do, and its state can be saved between them.
class QualityStep : public FrameStep {
 public:
  /// The next frame is the first of another clip, which was made after the frames before it.
  void begin_clip() { border_ = seen_ > 0; }
  /// uint8 [t, H, W, 3]; throws std::invalid_argument for other frames. The rate of the first counts for all.
  void take(const Frames& frames, const FrameSink& next) override;

  /// Of the frames that came so far; the same numbers in whatever pieces they came.
  QualityNumbers result() const;

  /// All that it knows: float64 [n]. A step that is restored from it gives the same numbers as one that went on. Before
  /// a frame came it has nothing to restore.
  at::Tensor state() const;
  /// Throws std::invalid_argument where it is no such state.
  void restore(const at::Tensor& state);

 private:
  /// Means of a frame, in levels.
  struct Means {
    double luma = 0, blue = 0, red = 0, saturation = 0;  // blue and red: their differences from luma
  };
  struct Look {
    Means means;
    bool black = false, flat = false;
    double bright = 0;  // the luma of its brightest cell
  };
  /// How often changes of a size came: eight sizes for each doubling, from 1/256 to 256 levels.
  using Histogram = std::array<int64_t, 128>;

  void add(const uint8_t* rgb, int64_t height, int64_t width);
  void lay(int64_t height, int64_t width);
  CellFrame cells_of(const uint8_t* rgb) const;
  static Look look_at(const CellFrame& frame);
  void compare(const CellFrame& frame, const Look& look);
  void keep(const Look& look);
  void turn(double luma);
  size_t window() const;
  template <typename Self, typename Visit>
  static void visit(Self& self, Visit visit);

  int64_t height_ = 0, width_ = 0;
  std::vector<int64_t> rows_, columns_;  // where the pixels lie that are read, in bytes

  // The state.
  int64_t seen_ = 0, black_ = 0, flat_ = 0;
  Rational rate_{16, 1};
  int64_t still_ = 1, longest_ = 1;       // frames of the run that goes on, and of the longest
  int64_t turns_ = 0;                     // flickering frames
  double before_ = 0, before_that_ = 0;   // luma of the last two frames
  double bend_ = 0;                       // the second difference that ends with the last frame
  bool empty_ = false;                    // the last frame was black or flat
  Means shift_;                           // what cuts have changed so far
  std::vector<Means> first_, last_;       // of the first second and the last, less that; `last_` is a ring
  int64_t clips_ = 1, border_frame_ = 0;  // the frame of the largest change at a border
  double border_change_ = 0;              // that change
  Histogram inside_{}, borders_{};        // changes from frame to frame
  Means means_;                           // of the last frame
  CellFrame frame_, still_frame_;         // the last one; the first of the run of equal ones
  bool border_ = false;                   // before the next frame
};

}  // namespace wan
