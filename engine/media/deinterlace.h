// Interlaced video to whole pictures. Included by this folder's .cpp files only.
#pragma once

#include <optional>

#include "engine/media/filter_graph.h"
#include "engine/media/input.h"

namespace wan::av {

/// The decoder's pictures in order, those that are interlaced made whole by bwdif, one for one; progressive ones pass
/// unchanged. Interlaced are pictures that say so themselves, and those of codecs without motion (ProRes, MJPEG, DV ...)
/// in a container that says so.
class Deinterlacer {
 public:
  /// Without `active`, all pictures pass unchanged. `decoder` must outlive this.
  Deinterlacer(Decoder& decoder, bool active);

  /// The next picture, with its best_effort_timestamp; false after the last. Throws InvalidRequest where the picture is
  /// interlaced and libavfilter lacks bwdif.
  bool next(AVFrame& picture);
  /// Whether an interlaced picture came and was made whole.
  bool used() const { return graph_.has_value(); }
  /// Whether fields came as pictures of their own, which pass as they are.
  bool saw_fields() const { return saw_fields_; }

 private:
  bool interlaced(AVFrame& picture);
  void push(AVFrame& picture);

  Decoder& decoder_;
  bool active_, ended_ = false, saw_fields_ = false;
  std::optional<FilterGraph> graph_;
  Frame in_ = new_frame();
  bool waiting_ = false;  // in_ is of another size or format than graph_ takes
};

}  // namespace wan::av
