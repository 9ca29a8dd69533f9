// Pictures through a chain of libavfilter's filters. Included by this folder's .cpp files only.
#pragma once

extern "C" {
#include <libavfilter/avfilter.h>
}

#include <string>

#include "engine/media/av.h"

namespace wan::av {

/// Whether this build of libavfilter has the filter.
bool has_filter(const std::string& name);

bool is_interlaced(const AVFrame& picture);
void set_interlaced(AVFrame& picture, bool interlaced);
void set_top_field_first(AVFrame& picture, bool top);

/// Filters as libavfilter writes them ("bwdif=mode=send_frame"), between one input and one output. One thread, so that
/// the result is the same on every machine.
class FilterGraph {
 public:
  /// Takes pictures of the size and format of `like`. Throws std::runtime_error where the chain cannot be made.
  FilterGraph(const AVFrame& like, const std::string& filters);

  /// Whether `picture` has the size and format that this was made for.
  bool takes(const AVFrame& picture) const;
  /// Hands in the next picture, or null after the last one.
  void push(AVFrame* picture);
  /// The next finished picture; false where another has to be pushed first, or after the last.
  bool pull(AVFrame& picture);

 private:
  std::unique_ptr<AVFilterGraph, FreeWith<AVFilterGraph, avfilter_graph_free>> graph_;
  AVFilterContext *source_ = nullptr, *sink_ = nullptr;
  int width_, height_, format_;
};

}  // namespace wan::av
