#include "engine/media/audio_reader.h"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>
#include <vector>

#include "engine/base/error.h"
#include "engine/media/input.h"

namespace wan {
namespace {

constexpr int64_t kMostChannels = 64, kLeastRate = 1000, kMostRate = 768'000;

// Planar float tensors are handed to libswresample as one pointer for each channel.
std::vector<uint8_t*> planes(const at::Tensor& samples) {
  std::vector<uint8_t*> pointers;
  for (int64_t c = 0; c < samples.size(0); ++c) pointers.push_back(static_cast<uint8_t*>(samples[c].data_ptr()));
  return pointers;
}

// Channels in numpy's order of summing: row after row in float32, then one division.
at::Tensor mean_of_channels(const at::Tensor& samples) {
  if (samples.size(0) == 1) return samples;
  at::Tensor sum = samples[0].clone();
  for (int64_t c = 1; c < samples.size(0); ++c) sum.add_(samples[c]);
  return sum.div_(double(samples.size(0))).unsqueeze(0);
}

// Any sample format to planar float at the same rate; `out_channels` may be fewer.
class FloatConverter {
 public:
  FloatConverter(const AVFrame& first, int64_t out_channels) {
    AVChannelLayout in{}, out{};
    av_channel_layout_copy(&in, &first.ch_layout);
    if (in.order == AV_CHANNEL_ORDER_UNSPEC) {  // a file that does not say which speakers its channels are for
      int channels = in.nb_channels;
      av_channel_layout_uninit(&in);
      av_channel_layout_default(&in, channels);
    }
    if (out_channels == in.nb_channels) {
      av_channel_layout_copy(&out, &in);
    } else {
      av_channel_layout_default(&out, int(out_channels));
    }
    SwrContext* made = nullptr;
    int code = swr_alloc_set_opts2(&made, &out, AV_SAMPLE_FMT_FLTP, first.sample_rate, &in,
                                   AVSampleFormat(first.format), first.sample_rate, 0, nullptr);
    swr_.reset(made);
    av_channel_layout_uninit(&in);
    av_channel_layout_uninit(&out);
    if (code >= 0) code = swr_init(made);
    av::check(code, "converting sound to float");
  }

  at::Tensor operator()(const AVFrame& frame, int64_t out_channels) {
    at::Tensor samples = at::empty({out_channels, frame.nb_samples}, at::kFloat);
    const auto** data = const_cast<const uint8_t**>(frame.extended_data);
    int got = swr_convert(swr_.get(), planes(samples).data(), frame.nb_samples, data, frame.nb_samples);
    return samples.narrow(1, 0, av::check(got, "converting sound to float"));
  }

 private:
  av::Resampler swr_;
};

// Planar float to another rate.
class RateConverter {
 public:
  RateConverter(int64_t channels, int64_t from, int64_t to) : channels_(channels), from_(from), to_(to) {
    if (from == to) return;
    name = "soxr";
    if (open(true) >= 0) return;
    name = "swr (libswresample has no soxr)";
    av::check(open(false), "resampling sound");
  }

  at::Tensor operator()(const at::Tensor& samples) {
    taken_ += samples.size(1);
    if (!swr_) return samples;
    at::Tensor in = samples.contiguous();
    return convert(planes(in), in.size(1));
  }

  // What is still inside, cut or padded with silence so that the whole has ceil(taken * to / from) samples.
  at::Tensor finish() {
    if (!swr_) return {};
    at::Tensor rest = convert({}, 0);
    const auto whole = int64_t(std::ceil(double(taken_) * (double(to_) / double(from_))));
    const int64_t wanted = rest.size(1) + whole - given_;
    if (wanted <= rest.size(1)) return rest.narrow(1, 0, std::max<int64_t>(wanted, 0));
    return at::cat({rest, at::zeros({channels_, wanted - rest.size(1)}, at::kFloat)}, 1);
  }

  std::string name = "none";

 private:
  int open(bool soxr) {
    AVChannelLayout layout{};
    av_channel_layout_default(&layout, int(channels_));
    SwrContext* made = nullptr;
    int code = swr_alloc_set_opts2(&made, &layout, AV_SAMPLE_FMT_FLTP, int(to_), &layout, AV_SAMPLE_FMT_FLTP,
                                   int(from_), 0, nullptr);
    av_channel_layout_uninit(&layout);
    swr_.reset(made);
    if (code >= 0 && soxr) code = av_opt_set(made, "resampler", "soxr", 0);
    if (code >= 0 && soxr) code = av_opt_set_double(made, "precision", 20, 0);  // soxr's "HQ"
    return code < 0 ? code : swr_init(made);
  }

  at::Tensor convert(std::vector<uint8_t*> in, int64_t count) {
    const int64_t room = swr_get_out_samples(swr_.get(), int(count)) + 4096;
    at::Tensor out = at::empty({channels_, room}, at::kFloat);
    int got = swr_convert(swr_.get(), planes(out).data(), int(room),
                          count ? const_cast<const uint8_t**>(in.data()) : nullptr, int(count));
    given_ += av::check(got, "resampling sound");
    return out.narrow(1, 0, got);
  }

  int64_t channels_, from_, to_, taken_ = 0, given_ = 0;
  av::Resampler swr_;
};

}  // namespace

struct AudioReader::State {
  State(const MediaFile& file, Mix mix, int64_t wanted);
  void check(const AVFrame& frame) const;
  at::Tensor next();

  av::Decoder decoder;
  Mix mix;
  av::Frame frame = av::new_frame();
  int64_t own_rate = 0, own_channels = 0, rate = 0, channels = 0, taken = 0;
  bool more = true, finished = false;
  std::optional<FloatConverter> to_float;
  std::optional<RateConverter> to_rate;
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
  to_float.emplace(*frame, mix == Mix::Mono ? own_channels : channels);
  to_rate.emplace(channels, own_rate, rate);
}

void AudioReader::State::check(const AVFrame& frame) const {
  if (frame.sample_rate != own_rate || frame.ch_layout.nb_channels != own_channels) {
    decoder.source().refuse("its rate or its number of channels changes midway");
  }
  if (taken > kMostAudioSeconds * own_rate) {
    decoder.source().refuse("it lasts more than " + std::to_string(kMostAudioSeconds) + " s");
  }
}

at::Tensor AudioReader::State::next() {
  while (more) {
    at::Tensor piece;
    if (frame->nb_samples > 0) {
      taken += frame->nb_samples;
      check(*frame);
      piece = (*to_float)(*frame, mix == Mix::Mono ? own_channels : channels);
      if (mix == Mix::Mono) piece = mean_of_channels(piece);
      piece = (*to_rate)(piece);
    }
    more = decoder.next(*frame);
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
const std::string& AudioReader::resampler() const {
  return state_->to_rate->name;
}
at::Tensor AudioReader::next() {
  return state_->next();
}
double AudioReader::stated_seconds() const {
  av::Input& input = state_->decoder.input();
  // From the bit rate it would be a guess, and a wrong one where that varies.
  if (input.format().duration_estimation_method == AVFMT_DURATION_FROM_BITRATE) return 0;
  const AVStream& stream = input.stream();
  return stream.duration > 0 ? double(stream.duration) * av_q2d(stream.time_base) : 0;
}
int64_t AudioReader::damaged_packets() const {
  return state_->decoder.damaged_packets();
}

Audio read_audio(const MediaFile& file, int64_t rate) {
  AudioReader reader(file, Mix::Mono, rate);
  auto samples = std::make_shared<std::vector<float>>();
  while (true) {
    at::Tensor piece = reader.next();
    if (!piece.defined()) break;
    const float* data = piece.data_ptr<float>();
    samples->insert(samples->end(), data, data + piece.numel());
  }
  // The tensor owns the vector: an hour is not copied once more.
  at::Tensor whole = at::from_blob(
      samples->data(), {int64_t(samples->size())}, [samples](void*) {}, at::kFloat);
  return {whole, rate, reader.resampler(), reader.damaged_packets()};
}

}  // namespace wan
