#include "engine/media/audio_convert.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace wan::av {
namespace {

// Planar float tensors are handed to libswresample as one pointer for each channel.
std::vector<uint8_t*> planes(const at::Tensor& samples) {
  std::vector<uint8_t*> pointers;
  for (int64_t c = 0; c < samples.size(0); ++c) pointers.push_back(static_cast<uint8_t*>(samples[c].data_ptr()));
  return pointers;
}

}  // namespace

at::Tensor mean_of_channels(const at::Tensor& samples) {
  if (samples.size(0) == 1) return samples;
  at::Tensor sum = samples[0].clone();
  for (int64_t c = 1; c < samples.size(0); ++c) sum.add_(samples[c]);
  return sum.div_(double(samples.size(0))).unsqueeze(0);
}

FloatConverter::FloatConverter(const AVFrame& first, int64_t channels, int64_t rate)
    : channels_(channels),
      from_rate_(first.sample_rate),
      from_format_(first.format),
      from_channels_(first.ch_layout.nb_channels) {
  AVChannelLayout in{}, out{};
  av_channel_layout_copy(&in, &first.ch_layout);
  if (in.order == AV_CHANNEL_ORDER_UNSPEC) {  // a file that does not say which speakers its channels are for
    av_channel_layout_uninit(&in);
    av_channel_layout_default(&in, from_channels_);
  }
  if (channels == from_channels_) {
    av_channel_layout_copy(&out, &in);
  } else {
    av_channel_layout_default(&out, int(channels));
  }
  SwrContext* made = nullptr;
  int code = swr_alloc_set_opts2(&made, &out, AV_SAMPLE_FMT_FLTP, int(rate), &in, AVSampleFormat(from_format_),
                                 from_rate_, 0, nullptr);
  swr_.reset(made);
  av_channel_layout_uninit(&in);
  av_channel_layout_uninit(&out);
  if (code >= 0) code = swr_init(made);
  check(code, "converting sound to float");
}

bool FloatConverter::takes(const AVFrame& frame) const {
  return frame.sample_rate == from_rate_ && frame.format == from_format_ &&
         frame.ch_layout.nb_channels == from_channels_;
}

at::Tensor FloatConverter::operator()(const AVFrame& frame) {
  const int room = check(swr_get_out_samples(swr_.get(), frame.nb_samples), "converting sound to float");
  at::Tensor samples = at::empty({channels_, room}, at::kFloat);
  const auto** data = const_cast<const uint8_t**>(frame.extended_data);
  int got = swr_convert(swr_.get(), planes(samples).data(), room, data, frame.nb_samples);
  return samples.narrow(1, 0, check(got, "converting sound to float"));
}

RateConverter::RateConverter(int64_t channels, int64_t from, int64_t to) : channels_(channels), from_(from), to_(to) {
  if (from == to) return;
  name = "soxr";
  if (open(true) >= 0) return;
  name = "swr (libswresample has no soxr)";
  check(open(false), "resampling sound");
}

at::Tensor RateConverter::operator()(const at::Tensor& samples) {
  taken_ += samples.size(1);
  if (!swr_) return samples;
  at::Tensor in = samples.contiguous();
  return convert(planes(in), in.size(1));
}

at::Tensor RateConverter::finish() {
  if (!swr_) return {};
  at::Tensor rest = convert({}, 0);
  const auto whole = int64_t(std::ceil(double(taken_) * (double(to_) / double(from_))));
  const int64_t wanted = rest.size(1) + whole - given_;
  if (wanted <= rest.size(1)) return rest.narrow(1, 0, std::max<int64_t>(wanted, 0));
  return at::cat({rest, at::zeros({channels_, wanted - rest.size(1)}, at::kFloat)}, 1);
}

int RateConverter::open(bool soxr) {
  AVChannelLayout layout{};
  av_channel_layout_default(&layout, int(channels_));
  SwrContext* made = nullptr;
  int code = swr_alloc_set_opts2(&made, &layout, AV_SAMPLE_FMT_FLTP, int(to_), &layout, AV_SAMPLE_FMT_FLTP, int(from_),
                                 0, nullptr);
  av_channel_layout_uninit(&layout);
  swr_.reset(made);
  if (code >= 0 && soxr) code = av_opt_set(made, "resampler", "soxr", 0);
  if (code >= 0 && soxr) code = av_opt_set_double(made, "precision", 20, 0);  // soxr's "HQ"
  return code < 0 ? code : swr_init(made);
}

at::Tensor RateConverter::convert(std::vector<uint8_t*> in, int64_t count) {
  const int64_t room = swr_get_out_samples(swr_.get(), int(count)) + 4096;
  at::Tensor out = at::empty({channels_, room}, at::kFloat);
  int got = swr_convert(swr_.get(), planes(out).data(), int(room),
                        count ? const_cast<const uint8_t**>(in.data()) : nullptr, int(count));
  given_ += check(got, "resampling sound");
  return out.narrow(1, 0, got);
}

}  // namespace wan::av
