#include "engine/media/audio_reader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "engine/base/error.h"
#include "engine/media/audio_convert.h"
#include "engine/media/input.h"
#include "engine/media/missing.h"
#include "engine/media/sound_clock.h"

namespace wan {
namespace {

constexpr int64_t kMostChannels = 64, kLeastRate = 1000, kMostRate = 768'000;

}  // namespace

struct AudioReader::State {
  State(const MediaFile& file, Mix mix, int64_t wanted);
  void place();
  void check_limits() const;
  at::Tensor silence();
  at::Tensor decoded();
  at::Tensor next();

  av::Decoder decoder;
  Mix mix;
  av::Frame frame = av::new_frame();
  int64_t own_rate = 0, own_channels = 0, rate = 0, channels = 0, taken = 0;
  double start = 0, stated = 0;               // seconds
  int64_t hole = 0, overlap = 0, filled = 0;  // samples of silence before `frame`, samples of it to drop, all silence
  bool more = true, finished = false;
  std::optional<av::FloatConverter> to_float;
  std::optional<av::RateConverter> to_rate;
  std::optional<av::SoundClock> clock;
  Loudness loudness;
};

AudioReader::State::State(const MediaFile& file, Mix mix, int64_t wanted)
    : decoder({file, "a sound file"}, AVMEDIA_TYPE_AUDIO, 0), mix(mix) {
  do {
    if (!decoder.next(*frame)) decoder.source().refuse("it has no sound that can be decoded");
  } while (frame->nb_samples <= 0);
  own_rate = frame->sample_rate;
  own_channels = frame->ch_layout.nb_channels;
  if (own_rate < kLeastRate || own_rate > kMostRate || own_channels < 1 || own_channels > kMostChannels) {
    decoder.source().refuse(std::to_string(own_channels) + " channels at " + std::to_string(own_rate) + " Hz");
  }
  rate = wanted ? wanted : own_rate;
  channels = mix == Mix::Mono ? 1 : std::min<int64_t>(own_channels, 2);
  to_rate.emplace(channels, own_rate, rate);
  av::Input& input = decoder.input();
  clock.emplace(input.format(), input.stream().time_base, own_rate);
  const int64_t first = frame->pts != AV_NOPTS_VALUE ? frame->pts : input.stream().start_time;
  start = first == AV_NOPTS_VALUE ? 0 : double(first) * av_q2d(input.stream().time_base);
  stated = av::stated_seconds(decoder);
  place();
}

/// Where `frame` stands: behind a hole, or partly on what was before it.
void AudioReader::State::place() {
  const int64_t gap = clock->gap(frame->pts);
  hole = std::max<int64_t>(gap, 0);
  overlap = std::max<int64_t>(-gap, 0);
  filled += hole;
}

void AudioReader::State::check_limits() const {
  if (taken > kMostAudioSeconds * own_rate) {
    decoder.source().refuse("it lasts more than " + std::to_string(kMostAudioSeconds) + " s");
  }
}

/// The next second of the hole before `frame`.
at::Tensor AudioReader::State::silence() {
  const int64_t count = std::min(hole, own_rate);
  hole -= count;
  return at::zeros({channels, count}, at::kFloat);
}

/// The samples of `frame`, and on to the next one; undefined where none are left of it.
at::Tensor AudioReader::State::decoded() {
  at::Tensor piece;
  if (frame->nb_samples > 0) {
    const int64_t wanted = mix == Mix::Mono ? own_channels : channels;
    if (!to_float || !to_float->takes(*frame)) {
      // Channels that come and go would make another mean; a kept sound just goes on.
      if (mix == Mix::Mono && (frame->sample_rate != own_rate || frame->ch_layout.nb_channels != own_channels))
        decoder.source().refuse("its rate or its number of channels changes midway");
      to_float.emplace(*frame, wanted, own_rate);
    }
    piece = (*to_float)(*frame);
    const int64_t dropped = std::min(overlap, piece.size(1));
    piece = piece.narrow(1, dropped, piece.size(1) - dropped);
    if (mix == Mix::Mono) {
      const at::Tensor mean = av::mean_of_channels(piece);
      loudness.add(piece, mean);
      piece = mean;
    }
  }
  overlap = 0;
  more = decoder.next(*frame);
  return piece;
}

at::Tensor AudioReader::State::next() {
  while (more) {
    at::Tensor piece = hole > 0 ? silence() : decoded();
    if (piece.defined() && piece.size(1) > 0) {
      taken += piece.size(1);
      check_limits();
      clock->advance(piece.size(1));
      piece = (*to_rate)(piece);
    }
    if (more && hole == 0 && frame->nb_samples > 0) place();
    if (piece.defined() && piece.size(1) > 0) return piece;
  }
  if (finished) return {};
  finished = true;
  at::Tensor rest = to_rate->finish();
  return rest.defined() && rest.size(1) > 0 ? rest : at::Tensor();
}

AudioReader::AudioReader(const MediaFile& file, Mix mix, int64_t rate)
    : state_(std::make_unique<State>(file, mix, rate)) {}
AudioReader::~AudioReader() = default;
AudioReader::AudioReader(AudioReader&&) noexcept = default;

int64_t AudioReader::rate() const {
  return state_->rate;
}
int64_t AudioReader::channels() const {
  return state_->channels;
}
int64_t AudioReader::file_channels() const {
  return state_->own_channels;
}
const std::string& AudioReader::resampler() const {
  return state_->to_rate->name;
}
at::Tensor AudioReader::next() {
  return state_->next();
}
double AudioReader::stated_seconds() const {
  return state_->stated;
}
std::string AudioReader::missing_end() const {
  return av::missing_end(state_->decoder);
}
Tracks AudioReader::tracks() const {
  return state_->decoder.input().tracks();
}
int64_t AudioReader::damaged_packets() const {
  return state_->decoder.damaged_packets();
}
double AudioReader::start() const {
  return state_->start;
}
double AudioReader::filled_seconds() const {
  return double(state_->filled) / double(state_->own_rate);
}
const Loudness& AudioReader::loudness() const {
  return state_->loudness;
}

}  // namespace wan
