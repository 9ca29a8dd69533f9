// Decoded sound to planar float32, and float32 to another rate. Included by this folder's .cpp files only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/media/av.h"

namespace wan::av {

/// Channels in numpy's order of summing: row after row in float32, then one division. [channels, n] -> [1, n].
at::Tensor mean_of_channels(const at::Tensor& samples);

/// Frames of one rate, sample format and number of channels to planar float. `channels` may be fewer, `rate` another.
class FloatConverter {
 public:
  FloatConverter(const AVFrame& first, int64_t channels, int64_t rate);
  /// Whether this frame is of the first one's kind.
  bool takes(const AVFrame& frame) const;
  at::Tensor operator()(const AVFrame& frame);

 private:
  int64_t channels_;
  int from_rate_, from_format_, from_channels_;
  Resampler swr_;
};

/// Planar float to another rate, as librosa does it: soxr at 20 bits.
class RateConverter {
 public:
  RateConverter(int64_t channels, int64_t from, int64_t to);
  at::Tensor operator()(const at::Tensor& samples);
  /// What is still inside, cut or padded with silence so that the whole has ceil(taken * to / from) samples; undefined
  /// where the rate is kept.
  at::Tensor finish();

  std::string name = "none";  // as AudioReader::resampler()

 private:
  int open(bool soxr);
  at::Tensor convert(std::vector<uint8_t*> in, int64_t count);
  int64_t channels_, from_, to_, taken_ = 0, given_ = 0;
  Resampler swr_;
};

}  // namespace wan::av
