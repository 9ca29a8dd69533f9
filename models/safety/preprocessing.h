// How a picture becomes what a safety checker takes, as its preprocessor_config.json states it. Applied by
// engine/frames/safety_input.h.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>

#include "models/safety/config.h"

namespace wan::safety {

struct Preprocessing {
  /// Pillow's filters, by its numbers.
  enum class Filter { Lanczos = 1, Bilinear = 2, Bicubic = 3 };

  Filter resample;
  /// Pixels of the shorter side before the centre is cut out. 0: the whole picture is stretched to a square.
  int64_t shortest_edge;
  int64_t size;           // pixels of a side of the result
  double rescale_factor;  // 1/255
  std::array<double, 3> image_mean, image_std;

  /// For a checker with `config`, whose processor counts where the file names none: ViTImageProcessor stretches, bilinear,
  /// to mean and deviation 0.5; CLIPImageProcessor cuts the centre out, bicubic, with CLIP's own. Throws ModelError where
  /// the file is absent, is no JSON, asks for steps that are not known, or for pictures of another size than the
  /// network's.
  static Preprocessing read(const std::filesystem::path& file, const Config& config);
};

}  // namespace wan::safety
