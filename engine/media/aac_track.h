// Sound of an MP4 file that is being written, encoded here. Included by this folder's .cpp files only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/media/muxer.h"

namespace wan::av {

/// Whether AAC has this rate in its table. Others are written out, and few players read that.
bool is_aac_rate(int64_t rate);

/// PCM encoded as AAC, 96 kb/s a channel: the official muxing's 192 kb/s for stereo. Starts at time zero: the encoder's
/// 1,024 samples of run-in are hidden by an edit list.
class AacTrack {
 public:
  /// Throws std::invalid_argument where `rate` is not in AAC's table or `channels` not 1 or 2.
  AacTrack(Muxer& muxer, int64_t rate, int64_t channels);
  /// float32 [channels, n].
  void write(const at::Tensor& samples);
  void finish();

 private:
  void encode(const at::Tensor& samples);  // one frame's worth, or fewer at the end
  void drain();
  Muxer& muxer_;
  Codec codec_;
  AVStream* stream_ = nullptr;
  at::Tensor waiting_;   // [channels, fewer than a frame]
  int64_t encoded_ = 0;  // samples
};

}  // namespace wan::av
