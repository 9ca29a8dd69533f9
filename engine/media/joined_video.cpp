#include "engine/media/joined_video.h"

#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>

#include "engine/base/error.h"
#include "engine/media/aac_track.h"
#include "engine/media/input.h"
#include "engine/media/muxer.h"
#include "models/files/error.h"

namespace wan {
namespace {

std::unique_ptr<av::Input> open_piece(const std::string& piece) {
  try {
    return std::make_unique<av::Input>(av::Source{{piece, "out"}, "a finished piece of the video"}, AVMEDIA_TYPE_VIDEO);
  } catch (const InvalidRequest& unreadable) {
    throw BadPiece(unreadable.what());
  }
}

/// What a decoder is told once for the whole file.
bool same_format(const AVCodecParameters& a, const AVCodecParameters& b) {
  return a.codec_id == b.codec_id && a.width == b.width && a.height == b.height &&
         a.extradata_size == b.extradata_size && std::memcmp(a.extradata, b.extradata, size_t(a.extradata_size)) == 0;
}

}  // namespace

struct JoinedVideo::State {
  State(const std::string& path, const std::string& first, const VideoFormat& format)
      : muxer(path, format.metadata), frame_time{int(format.rate.denominator), int(format.rate.numerator)} {
    stream = &muxer.add(*open_piece(first)->stream().codecpar, frame_time);
    stream->avg_frame_rate = av_inv_q(frame_time);
    if (format.audio) sound.emplace(muxer, format.audio->rate, format.audio->channels);
    muxer.start();
  }

  av::Muxer muxer;
  AVRational frame_time;  // seconds
  AVStream* stream = nullptr;
  std::optional<av::AacTrack> sound;
  av::Packet packet = av::new_packet();
  int64_t frames = 0;
  bool flushed = false;
};

JoinedVideo::JoinedVideo(const std::string& path, const std::string& first, const VideoFormat& format)
    : state_(std::make_unique<State>(path, first, format)) {}
JoinedVideo::~JoinedVideo() = default;

void JoinedVideo::append(const std::string& piece, int64_t frames) {
  State& state = *state_;
  const std::unique_ptr<av::Input> input = open_piece(piece);
  if (!same_format(*input->stream().codecpar, *state.stream->codecpar))
    throw BadPiece("[" + shown_name(piece) + "] must be encoded in the format of the pieces before it, is in another");
  int64_t count = 0;
  for (; input->read(*state.packet); ++count) {
    // Exact: libavformat writes MP4 in multiples of the frame's time. Decoding times begin before zero in each piece,
    // by the two frames that x264 looks ahead, and so end as much before the next piece's.
    av_packet_rescale_ts(state.packet.get(), input->stream().time_base, state.frame_time);
    state.packet->pts += state.frames;
    state.packet->dts += state.frames;
    state.packet->duration = 1;
    state.muxer.write(*state.packet, state.frame_time, *state.stream);
  }
  state.frames += count;
  if (count != frames)
    throw BadPiece("[" + shown_name(piece) + "] must hold " + std::to_string(frames) + " frames, holds " +
                   std::to_string(count));
}

void JoinedVideo::write_audio(const at::Tensor& samples) {
  if (!state_->sound) throw std::invalid_argument("[JoinedVideo] sound came, but the format has no audio");
  state_->sound->write(samples);
}

void JoinedVideo::tell(const std::string& metadata) {
  if (metadata.size() > kMostMetadata) throw std::invalid_argument("[JoinedVideo] metadata is limited to 1 MB");
  state_->muxer.comment(metadata);
}

StreamTimes JoinedVideo::flush() {
  if (state_->frames == 0) throw std::logic_error("[JoinedVideo] finish() without a frame");
  if (state_->sound && !state_->flushed) state_->sound->finish();
  state_->flushed = true;
  return state_->muxer.times();
}

void JoinedVideo::finish(const std::string& instead) {
  flush();
  state_->muxer.finish(instead);
}

}  // namespace wan
