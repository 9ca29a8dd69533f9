#include "engine/media/deinterlace.h"

namespace wan::av {
namespace {

constexpr int kLeastSide = 4;  // below, bwdif has no lines to look at

bool is_intra_only(AVCodecID codec) {
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get(codec);
  return descriptor && (descriptor->props & AV_CODEC_PROP_INTRA_ONLY);
}

bool is_field_order(AVFieldOrder order) {
  return order == AV_FIELD_TT || order == AV_FIELD_BB || order == AV_FIELD_TB || order == AV_FIELD_BT;
}

}  // namespace

Deinterlacer::Deinterlacer(Decoder& decoder, bool active) : decoder_(decoder), active_(active) {}

bool Deinterlacer::interlaced(AVFrame& picture) {
  if (!active_ || picture.width < kLeastSide || picture.height < kLeastSide) return false;
  const AVCodecParameters& stream = *decoder_.input().stream().codecpar;
  if (is_interlaced(picture)) {
    // Interlaced HEVC has each field as a picture of half the height.
    if (stream.codec_id == AV_CODEC_ID_HEVC) saw_fields_ = true;
    return stream.codec_id != AV_CODEC_ID_HEVC;
  }
  if (!is_intra_only(stream.codec_id) || !is_field_order(stream.field_order)) return false;
  set_interlaced(picture, true);
  set_top_field_first(picture, stream.field_order == AV_FIELD_TT || stream.field_order == AV_FIELD_BT);
  return true;
}

void Deinterlacer::push(AVFrame& picture) {
  if (!has_filter("bwdif")) {
    decoder_.source().refuse(
        "it is interlaced, and the FFmpeg that this program runs with lacks the filter bwdif; --no-deinterlace reads "
        "it "
        "as it is, ffmpeg -i IN -vf yadif OUT.mp4 makes a progressive video of it");
  }
  if (!graph_) graph_.emplace(picture, "bwdif=mode=send_frame:parity=auto:deint=interlaced");
  picture.pts = picture.best_effort_timestamp;
  graph_->push(&picture);
}

bool Deinterlacer::next(AVFrame& picture) {
  for (;;) {
    if (graph_ && graph_->pull(picture)) return true;
    if (waiting_) {  // the graph before it is empty now
      waiting_ = false;
      graph_.reset();
      push(*in_);
      continue;
    }
    if (ended_) return false;
    if (!decoder_.next(*in_)) {
      ended_ = true;
      if (graph_) graph_->push(nullptr);
      continue;
    }
    if (!interlaced(*in_) && !graph_) {
      av_frame_unref(&picture);
      av_frame_move_ref(&picture, in_.get());
      return true;
    }
    waiting_ = graph_ && !graph_->takes(*in_);
    if (waiting_) {
      graph_->push(nullptr);
    } else {
      push(*in_);
    }
  }
}

}  // namespace wan::av
