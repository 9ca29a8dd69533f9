#include "engine/media/kept_track.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/media/video_reader.h"
#include "engine/media/writer.h"

namespace wan::av {
namespace {

constexpr double kFarthest = 1e6;  // seconds; stamps beyond that are nonsense

}  // namespace

double first_picture(const MediaFile& file) {
  auto seconds = [](int64_t stamp, const AVStream& stream) {
    return stamp == AV_NOPTS_VALUE ? 0 : double(stamp) * av_q2d(stream.time_base);
  };
  try {
    Decoder decoder({file, "a video"}, AVMEDIA_TYPE_VIDEO, kMostVideoPixels);
    Frame frame = new_frame();
    const AVStream& stream = decoder.input().stream();
    const bool shown = decoder.next(*frame) && frame->best_effort_timestamp != AV_NOPTS_VALUE;
    return seconds(shown ? frame->best_effort_timestamp : stream.start_time, stream);
  } catch (const InvalidRequest&) {
    Input sound({file, "a video with sound"}, AVMEDIA_TYPE_AUDIO);
    return seconds(sound.stream().start_time, sound.stream());
  }
}

CopiedTrack::CopiedTrack(Muxer& muxer, const MediaFile& file, double origin)
    : muxer_(muxer),
      origin_(origin),
      input_({file, "a video with sound"}, AVMEDIA_TYPE_AUDIO),
      stream_(&muxer.add(*input_.stream().codecpar, input_.stream().time_base)) {}

void CopiedTrack::advance(double seconds) {
  const AVRational base = input_.stream().time_base;
  const auto origin = std::llround(origin_ / av_q2d(base));
  while (!ended_) {
    if (!waiting_ && !input_.read(*packet_)) {
      ended_ = true;
      return;
    }
    waiting_ = true;
    const double at = double(packet_->pts) * av_q2d(base) - origin_, length = double(packet_->duration) * av_q2d(base);
    // Packets without a time, or wholly before the first picture, have no place; times that stand still would be
    // refused.
    const bool usable =
        packet_->pts != AV_NOPTS_VALUE && std::abs(at) < kFarthest && at + length > 0 && packet_->pts > last_;
    if (usable && at >= seconds) return;  // not yet due
    waiting_ = false;
    if (!usable) continue;
    last_ = packet_->pts;
    packet_->pts -= origin;
    packet_->dts = packet_->pts;
    muxer_.write(*packet_, base, *stream_);
  }
}

EncodedTrack::EncodedTrack(Muxer& muxer, const MediaFile& file, double origin)
    : reader_(file, Mix::Stereo, sound_rate(AudioReader(file, Mix::Stereo).rate())),
      track_(muxer, reader_.rate(), reader_.channels()),
      piece_(at::empty({reader_.channels(), 0}, at::kFloat)) {
  // Sound that begins before the first picture is skipped, sound that begins after it is preceded by silence.
  const double late = std::clamp(reader_.start() - origin, -kFarthest, kFarthest);
  const auto samples = std::llround(late * double(reader_.rate()));
  skip_ = std::max<int64_t>(0, -samples);
  late_ = std::max<int64_t>(0, samples);
}

/// Something into piece_; false where there is nothing more.
bool EncodedTrack::refill() {
  if (late_ > 0) {
    const int64_t count = std::min(late_, reader_.rate());
    late_ -= count;
    piece_ = at::zeros({reader_.channels(), count}, at::kFloat);
    return true;
  }
  piece_ = reader_.next();
  if (!piece_.defined()) return false;
  const int64_t skipped = std::min(skip_, piece_.size(1));
  skip_ -= skipped;
  piece_ = piece_.narrow(1, skipped, piece_.size(1) - skipped);
  return true;
}

void EncodedTrack::advance(double seconds) {
  while (!ended_) {
    const auto due = std::llround(seconds * double(reader_.rate())) - written_;
    if (due <= 0) return;
    if (piece_.size(1) == 0) {
      ended_ = !refill();
      continue;
    }
    const int64_t count = std::min<int64_t>(due, piece_.size(1));
    track_.write(piece_.narrow(1, 0, count));
    written_ += count;
    piece_ = piece_.narrow(1, count, piece_.size(1) - count);
  }
}

KeptTrack::KeptTrack(Muxer& muxer, const MediaFile& file) {
  const Keeping keeping = kept_sound(file, muxer.container()).keeping;
  if (keeping == Keeping::Nothing) return;
  const double origin = first_picture(file);
  if (keeping == Keeping::Copied) copied_ = std::make_unique<CopiedTrack>(muxer, file, origin);
  if (keeping == Keeping::Encoded) encoded_ = std::make_unique<EncodedTrack>(muxer, file, origin);
}

void KeptTrack::advance(double seconds) {
  if (copied_) copied_->advance(seconds);
  if (encoded_) encoded_->advance(seconds);
}

void KeptTrack::finish() {
  if (encoded_) encoded_->finish();
}

}  // namespace wan::av
