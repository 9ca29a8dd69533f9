#include "engine/media/filter_graph.h"

extern "C" {
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
}

#include <new>

namespace wan::av {
namespace {

struct Ends {
  AVFilterInOut* list = avfilter_inout_alloc();
  Ends(const char* name, AVFilterContext* filter) {
    if (!list) throw std::bad_alloc();
    list->name = av_strdup(name);
    list->filter_ctx = filter;
  }
  ~Ends() { avfilter_inout_free(&list); }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;
};

std::string source_options(const AVFrame& like) {
  std::string text = "width=" + std::to_string(like.width) + ":height=" + std::to_string(like.height) +
                     ":pix_fmt=" + std::to_string(like.format) + ":time_base=1/1000000:sar=1/1";
#if LIBAVFILTER_VERSION_MAJOR >= 10
  text += ":colorspace=" + std::to_string(like.colorspace) + ":range=" + std::to_string(like.color_range);
#endif
  return text;
}

}  // namespace

bool has_filter(const std::string& name) {
  return avfilter_get_by_name(name.c_str()) != nullptr;
}

// Fields of a frame became flags in FFmpeg 6.1.
#ifdef AV_FRAME_FLAG_INTERLACED
namespace {
void set_flag(AVFrame& picture, int flag, bool on) {
  picture.flags = on ? picture.flags | flag : picture.flags & ~flag;
}
}  // namespace
bool is_interlaced(const AVFrame& picture) {
  return picture.flags & AV_FRAME_FLAG_INTERLACED;
}
void set_interlaced(AVFrame& picture, bool interlaced) {
  set_flag(picture, AV_FRAME_FLAG_INTERLACED, interlaced);
}
void set_top_field_first(AVFrame& picture, bool top) {
  set_flag(picture, AV_FRAME_FLAG_TOP_FIELD_FIRST, top);
}
#else
bool is_interlaced(const AVFrame& picture) {
  return picture.interlaced_frame;
}
void set_interlaced(AVFrame& picture, bool interlaced) {
  picture.interlaced_frame = interlaced;
}
void set_top_field_first(AVFrame& picture, bool top) {
  picture.top_field_first = top;
}
#endif

FilterGraph::FilterGraph(const AVFrame& like, const std::string& filters)
    : graph_(avfilter_graph_alloc()), width_(like.width), height_(like.height), format_(like.format) {
  if (!graph_) throw std::bad_alloc();
  graph_->nb_threads = 1;
  graph_->scale_sws_opts = av_strdup("flags=bicubic+accurate_rnd+full_chroma_int+bitexact");
  auto end = [&](AVFilterContext** filter, const char* kind, const std::string& options) {
    check(avfilter_graph_create_filter(filter, avfilter_get_by_name(kind), kind,
                                       options.empty() ? nullptr : options.c_str(), nullptr, graph_.get()),
          "making filters");
  };
  end(&source_, "buffer", source_options(like));
  end(&sink_, "buffersink", "");
  Ends from("in", source_), to("out", sink_);
  check(avfilter_graph_parse_ptr(graph_.get(), filters.c_str(), &to.list, &from.list, nullptr), "making filters");
  check(avfilter_graph_config(graph_.get(), nullptr), "making filters");
}

bool FilterGraph::takes(const AVFrame& picture) const {
  return picture.width == width_ && picture.height == height_ && picture.format == format_;
}

void FilterGraph::push(AVFrame* picture) {
  check(av_buffersrc_add_frame_flags(source_, picture, AV_BUFFERSRC_FLAG_KEEP_REF), "filtering");
}

bool FilterGraph::pull(AVFrame& picture) {
  av_frame_unref(&picture);
  const int code = av_buffersink_get_frame(sink_, &picture);
  if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return false;
  check(code, "filtering");
  return true;
}

}  // namespace wan::av
