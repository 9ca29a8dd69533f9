// The file that shows how far a video is: a picture of the newest estimate, replaced while steps are made.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "engine/base/log.h"
#include "models/vae/latent_rgb.h"

namespace wan {

/// Of up to 23 steps every one is shown, of more every second, third, ..., so that there are at least twelve pictures;
/// but at most one a second. The last step is always shown, and stays.
class PreviewFile {
 public:
  using Clock = std::chrono::steady_clock;
  /// `path`: a JPEG where its name ends in .jpg or .jpeg, else a PNG. It appears by renames: a reader sees one whole picture
  /// or another. `now`: of tests.
  PreviewFile(std::string path, vae::LatentRgb map, Log log, std::function<Clock::time_point()> now = Clock::now)
      : path_(std::move(path)), map_(std::move(map)), log_(std::move(log)), now_(std::move(now)) {}

  /// After step `step` of `steps`, from 0: the estimate of the clean latents [16, T, h, w]. Returns whether the file was
  /// replaced. Where that is impossible the log says so once, and later steps try again: no render fails for it. Throws
  /// c10::Error for other shapes, and what the device throws.
  bool take(const at::Tensor& estimate, int64_t step, int64_t steps);

  /// Whether a step of so many is shown, where the last picture is long ago.
  static bool shows(int64_t step, int64_t steps);

 private:
  std::string path_;
  vae::LatentRgb map_;
  Log log_;
  std::function<Clock::time_point()> now_;
  Clock::time_point last_ = {};
  bool began_ = false, told_ = false;
};

}  // namespace wan
