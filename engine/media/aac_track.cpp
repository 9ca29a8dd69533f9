#include "engine/media/aac_track.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "engine/media/writer.h"

namespace wan {
namespace av {
namespace {

constexpr int64_t kAacRates[] = {7350,  8000,  11025, 12000, 16000, 22050, 24000,
                                 32000, 44100, 48000, 64000, 88200, 96000};
constexpr int64_t kBitsPerChannel = 96'000;  // a second

}  // namespace

bool is_aac_rate(int64_t rate) {
  return std::find(std::begin(kAacRates), std::end(kAacRates), rate) != std::end(kAacRates);
}

AacTrack::AacTrack(Muxer& muxer, int64_t rate, int64_t channels)
    : muxer_(muxer), waiting_(at::empty({channels, 0}, at::kFloat)) {
  if (!is_aac_rate(rate) || channels < 1 || channels > 2) {
    throw std::invalid_argument("[VideoWriter] sound must be mono or stereo at one of AAC's rates, got " +
                                std::to_string(channels) + " channels at " + std::to_string(rate) + " Hz");
  }
  const AVCodec* encoder = avcodec_find_encoder(AV_CODEC_ID_AAC);
  if (!encoder) throw std::runtime_error("this libavcodec has no AAC encoder");
  codec_.reset(avcodec_alloc_context3(encoder));
  if (!codec_) throw std::bad_alloc();
  codec_->sample_rate = int(rate);
  codec_->sample_fmt = AV_SAMPLE_FMT_FLTP;
  codec_->bit_rate = std::min(kBitsPerChannel, rate * 6) * channels;  // 6 bits a sample is the format's limit
  codec_->time_base = {1, int(rate)};
  codec_->thread_count = 1;
  codec_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;  // no version text in the stream
  av_channel_layout_default(&codec_->ch_layout, int(channels));
  check(avcodec_open2(codec_.get(), nullptr, nullptr), "opening the AAC encoder");
  Parameters parameters(avcodec_parameters_alloc());
  if (!parameters) throw std::bad_alloc();
  check(avcodec_parameters_from_context(parameters.get(), codec_.get()), "opening the AAC encoder");
  stream_ = &muxer.add(*parameters, codec_->time_base);
}

void AacTrack::write(const at::Tensor& samples) {
  if (samples.dim() != 2 || samples.size(0) != waiting_.size(0) || samples.scalar_type() != at::kFloat) {
    throw std::invalid_argument("[VideoWriter] sound must be float32 [" + std::to_string(waiting_.size(0)) +
                                ", n], got " + samples.toString() + c10::str(samples.sizes()));
  }
  at::Tensor all = waiting_.size(1) ? at::cat({waiting_, samples}, 1) : samples;
  int64_t at = 0;
  for (; at + codec_->frame_size <= all.size(1); at += codec_->frame_size)
    encode(all.narrow(1, at, codec_->frame_size));
  waiting_ = all.narrow(1, at, all.size(1) - at).clone();  // not a view, which would keep the whole piece
}

void AacTrack::encode(const at::Tensor& samples) {
  Frame frame = new_frame();
  frame->nb_samples = int(samples.size(1));
  frame->format = AV_SAMPLE_FMT_FLTP;
  frame->sample_rate = codec_->sample_rate;
  check(av_channel_layout_copy(&frame->ch_layout, &codec_->ch_layout), "encoding sound");
  check(av_frame_get_buffer(frame.get(), 0), "encoding sound");
  frame->pts = encoded_;
  encoded_ += samples.size(1);
  // The encoder rejects NaN with an error of its own; what lies outside [-1, 1] clips as in any player.
  at::Tensor clipped = samples.nan_to_num(0, 1, -1).clamp_(-1, 1).contiguous();
  for (int64_t c = 0; c < clipped.size(0); ++c) {
    std::memcpy(frame->extended_data[c], clipped[c].data_ptr<float>(), size_t(clipped.size(1)) * sizeof(float));
  }
  check(avcodec_send_frame(codec_.get(), frame.get()), "encoding sound");
  drain();
}

void AacTrack::drain() {
  Packet packet = new_packet();
  for (;;) {
    int code = avcodec_receive_packet(codec_.get(), packet.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
    check(code, "encoding sound");
    muxer_.write(*packet, codec_->time_base, *stream_);
  }
}

void AacTrack::finish() {
  if (waiting_.size(1) > 0) encode(waiting_);
  check(avcodec_send_frame(codec_.get(), nullptr), "encoding sound");
  drain();
}

}  // namespace av

int64_t sound_rate(int64_t rate) {
  return *std::lower_bound(std::begin(av::kAacRates), std::end(av::kAacRates) - 4, rate);
}

}  // namespace wan
