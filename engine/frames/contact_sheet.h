// A sheet of small pictures that shows a whole clip.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/frames/stream.h"

namespace wan {

/// Frames picked evenly out of a clip that passes by in chunks (the first and the last included), in rows from the top
/// left with gaps between them. Tiny frames are enlarged by whole pixels (64 wide: four times), large ones reduced to
/// 480 wide.
class ContactSheet : public FrameStep {
 public:
  /// `frames` is the clip's length. Fewer frames than `tiles` make a smaller sheet.
  ContactSheet(int64_t frames, int64_t tiles = 12, int64_t columns = 4);

  /// The next frames of the clip, uint8 [t, H, W, 3] RGB; all of one size.
  void add(const at::Tensor& frames);
  /// Passes the frames on as they are.
  void take(const Frames& frames, const FrameSink& next) override;
  /// The sheet of what came so far, uint8 [h, w, 3]. Throws std::logic_error where nothing came.
  at::Tensor image() const;

 private:
  int64_t frames_, tiles_, columns_, seen_ = 0;
  std::vector<at::Tensor> picked_;
};

}  // namespace wan
