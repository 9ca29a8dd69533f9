// Two videos, frame by frame: how near they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/note.h"
#include "engine/base/progress.h"
#include "engine/compare/series.h"
#include "engine/media/media_file.h"
#include "engine/media/video_reader.h"

namespace wan {

namespace lpips {
class Model;
}

struct ComparedFile {
  std::string name;  // as shown_name
  VideoInfo info;    // with the frames that were counted; seconds as stated
  bool is_picture = false;
};

/// A measure of each frame that was compared.
struct Measure {
  std::string name;         // "psnr", "ssim", "lpips"
  std::string shown, unit;  // "LPIPS (AlexNet)"; "dB" or nothing
  Worse worse = Worse::Lower;
  std::vector<double> values = {};  // of psnr infinite where frames are equal

  Summary summary(const std::vector<double>& times) const { return summary_of(values, times, worse); }
};

struct Comparison {
  ComparedFile a, b;
  std::vector<double> times;      // of A's frames, seconds since its first; an entry for each frame that was compared
  std::vector<Measure> measures;  // PSNR, SSIM and, with a network, LPIPS
  double mean_squared_error = 0;  // of all frames together
  int64_t equal_frames = 0;       // without any difference
  std::vector<Note> notes = {};
};

/// Compares frame n of `a` with frame n of `b`, in the memory of a few frames, whatever their length: files of any format and
/// codec that are read, both made RGB in 8 bits, turned upright, with square pixels. Beyond the end of the shorter one
/// frames are counted only. Pictures are videos of one frame. `lpips` may be null.
/// Throws InvalidRequest naming the file's field or "lpips" where a file cannot be read, sizes differ or are too small, or
/// rates differ by more than a hundredth; ModelError where `lpips` gives no number; Cancelled.
Comparison compare_videos(const MediaFile& a, const MediaFile& b, const lpips::Model* lpips, const Log& log,
                          Progress& progress);

}  // namespace wan
