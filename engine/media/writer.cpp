#include "engine/media/writer.h"

#include <ATen/ATen.h>

#include <cerrno>
#include <new>
#include <stdexcept>

#include "engine/media/aac_track.h"
#include "engine/media/kept_track.h"
#include "engine/media/muxer.h"

namespace wan {
namespace {

// x264's output depends on its number of threads, so it is the same on every machine; more cores than this stay idle.
constexpr int kThreads = 8;
constexpr const char* kField = "video_url";  // whose sound audio_from names

template <typename Entry, size_t n>
const Entry& named(const Entry (&table)[n], const std::string& name, const char* what) {
  for (const Entry& entry : table) {
    if (entry.name == name) return entry;
  }
  throw std::invalid_argument("[VideoWriter] unknown " + std::string(what) + " '" + name + "'");
}

void check(const VideoFormat& format) {
  auto fail = [](const std::string& wrong) { throw std::invalid_argument("[VideoWriter] " + wrong); };
  if (format.height < 16 || format.width < 16 || format.height > 16384 || format.width > 16384 || format.height % 2 ||
      format.width % 2) {
    fail("height and width must be even, from 16 to 16384, got " + std::to_string(format.height) + "x" +
         std::to_string(format.width));
  }
  if (format.rate.numerator <= 0 || format.rate.denominator <= 0 || format.rate.numerator > 1'000'000 ||
      format.rate.denominator > 1'000'000) {
    fail("the frame rate must be positive, got " + std::to_string(format.rate.numerator) + "/" +
         std::to_string(format.rate.denominator));
  }
  if (format.metadata.size() > kMostMetadata) fail("metadata is limited to 1 MB");
  if (format.audio && !format.audio_from.empty()) fail("audio and audio_from exclude each other");
}

// RGB to BT.709 limited range. libswscale's own default would be BT.601 and centred chroma.
av::Scaler new_scaler(const VideoFormat& format) {
  av::Scaler scaler(sws_alloc_context());
  if (!scaler) throw std::bad_alloc();
  av_opt_set_int(scaler.get(), "srcw", format.width, 0);
  av_opt_set_int(scaler.get(), "srch", format.height, 0);
  av_opt_set_int(scaler.get(), "src_format", AV_PIX_FMT_RGB24, 0);
  av_opt_set_int(scaler.get(), "dstw", format.width, 0);
  av_opt_set_int(scaler.get(), "dsth", format.height, 0);
  av_opt_set_int(scaler.get(), "dst_format", AV_PIX_FMT_YUV420P, 0);
  av_opt_set_int(scaler.get(), "dst_h_chr_pos", 0, 0);
  av_opt_set_int(scaler.get(), "dst_v_chr_pos", 128, 0);
  av_opt_set_int(scaler.get(), "sws_flags", SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_BITEXACT, 0);
  av::check(sws_init_context(scaler.get(), nullptr, nullptr), "converting from RGB");
  const int* matrix = sws_getCoefficients(SWS_CS_ITU709);
  if (sws_setColorspaceDetails(scaler.get(), matrix, 1, matrix, 0, 0, 1 << 16, 1 << 16) < 0) {
    throw std::runtime_error("converting from RGB: BT.709 was refused");
  }
  return scaler;
}

av::Codec new_encoder(const VideoFormat& format) {
  const AVCodec* encoder = avcodec_find_encoder_by_name("libx264");
  if (!encoder) throw std::runtime_error("this libavcodec has no libx264; install FFmpeg's libraries with it");
  av::Codec codec(avcodec_alloc_context3(encoder));
  if (!codec) throw std::bad_alloc();
  codec->height = int(format.height);
  codec->width = int(format.width);
  codec->pix_fmt = AV_PIX_FMT_YUV420P;
  codec->time_base = {int(format.rate.denominator), int(format.rate.numerator)};
  codec->framerate = {int(format.rate.numerator), int(format.rate.denominator)};
  codec->colorspace = AVCOL_SPC_BT709;
  codec->color_primaries = AVCOL_PRI_BT709;
  codec->color_trc = AVCOL_TRC_BT709;
  codec->color_range = AVCOL_RANGE_MPEG;
  codec->chroma_sample_location = AVCHROMA_LOC_LEFT;
  codec->thread_count = kThreads;
  codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
  int factor = named(kQualities, format.quality, "video_quality").rate_factor;
  av::check(av_opt_set_double(codec->priv_data, "crf", factor, 0), "setting x264's rate factor");
  const char* preset = named(kWriteModes, format.write_mode, "video_write_mode").preset;
  av::check(av_opt_set(codec->priv_data, "preset", preset, 0), "setting x264's preset");
  // x264's AVX-512 code for its macroblock tree reads memory that was never written: equal encodes in one process
  // differ (x264 164; shown by MALLOC_PERTURB_). Up to AVX2 the result is that of its plain C code.
  if (av_get_cpu_flags() & AV_CPU_FLAG_AVX512) {
    av::check(av_opt_set(codec->priv_data, "x264-params", "asm=AVX2,FMA3,BMI1,BMI2,LZCNT", 0),
              "setting x264's instructions");
  }
  errno = 0;
  const int code = avcodec_open2(codec.get(), encoder, nullptr);
  if (code == AVERROR_EXTERNAL && errno == ENOMEM) throw std::bad_alloc();  // x264 does not say it
  av::check(code, "opening x264");
  return codec;
}

// x264 writes its version and its options into the first packet (SEI, NAL unit type 6); they vary between machines.
av::Filter new_filter(const AVCodecContext& codec) {
  const AVBitStreamFilter* kind = av_bsf_get_by_name("filter_units");
  if (!kind) throw std::runtime_error("this libavcodec has no filter_units");
  AVBSFContext* made = nullptr;
  av::check(av_bsf_alloc(kind, &made), "opening filter_units");
  av::Filter filter(made);
  av::check(avcodec_parameters_from_context(filter->par_in, &codec), "opening filter_units");
  filter->time_base_in = codec.time_base;
  av::check(av_opt_set(filter->priv_data, "remove_types", "6", 0), "opening filter_units");
  av::check(av_bsf_init(filter.get()), "opening filter_units");
  return filter;
}

}  // namespace

struct VideoWriter::State {
  State(const std::string& path, const VideoFormat& given, av::Sink sink)
      : format(given),
        muxer(path, given.metadata, sink),
        scaler(new_scaler(given)),
        codec(new_encoder(given)),
        filter(new_filter(*codec)),
        stream(&muxer.add(*filter->par_out, codec->time_base)) {
    stream->avg_frame_rate = codec->framerate;
    if (format.audio) pushed = std::make_unique<av::AacTrack>(muxer, format.audio->rate, format.audio->channels);
    if (!format.audio_from.empty()) kept = std::make_unique<av::KeptTrack>(muxer, MediaFile{format.audio_from, kField});
    picture->format = AV_PIX_FMT_YUV420P;
    picture->height = codec->height;
    picture->width = codec->width;
    av::check(av_frame_get_buffer(picture.get(), 0), "encoding video");
    muxer.start();
  }

  void encode(const uint8_t* rgb);
  void drain();

  VideoFormat format;
  av::Muxer muxer;
  av::Scaler scaler;
  av::Codec codec;
  av::Filter filter;
  AVStream* stream;
  std::unique_ptr<av::AacTrack> pushed;
  std::unique_ptr<av::KeptTrack> kept;
  av::Frame picture = av::new_frame();
  av::Packet packet = av::new_packet();
  int64_t frames = 0;
  bool flushed = false, finished = false;
};

void VideoWriter::State::encode(const uint8_t* rgb) {
  av::check(av_frame_make_writable(picture.get()), "encoding video");
  const uint8_t* planes[4] = {rgb};
  const int strides[4] = {int(format.width * 3)};
  sws_scale(scaler.get(), planes, strides, 0, codec->height, picture->data, picture->linesize);
  picture->pts = frames++;
  av::check(avcodec_send_frame(codec.get(), picture.get()), "encoding video");
  drain();
  if (kept) kept->advance(double(frames * format.rate.denominator) / double(format.rate.numerator));
}

void VideoWriter::State::drain() {
  for (;;) {
    int code = avcodec_receive_packet(codec.get(), packet.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
    av::check(code, "encoding video");
    packet->duration = 1;
    av::check(av_bsf_send_packet(filter.get(), packet.get()), "filtering video");
    while ((code = av_bsf_receive_packet(filter.get(), packet.get())) >= 0)
      muxer.write(*packet, codec->time_base, *stream);
    if (code != AVERROR(EAGAIN)) av::check(code, "filtering video");
  }
}

void check_header(const std::string& path, const VideoFormat& format) {
  check(format);
  VideoWriter::State(path, format, av::Sink::Nowhere);
}

VideoWriter::VideoWriter(const std::string& path, const VideoFormat& format) {
  check(format);
  state_ = std::make_unique<State>(path, format, av::Sink::File);
}
VideoWriter::~VideoWriter() = default;
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;

void VideoWriter::write(const at::Tensor& frames) {
  State& state = *state_;
  if (frames.dim() != 4 || frames.size(1) != state.format.height || frames.size(2) != state.format.width ||
      frames.size(3) != 3 || frames.scalar_type() != at::kByte || !frames.is_cpu()) {
    throw std::invalid_argument("[VideoWriter] frames must be uint8 [t, " + std::to_string(state.format.height) + ", " +
                                std::to_string(state.format.width) + ", 3] on the CPU, got " + frames.toString() +
                                c10::str(frames.sizes()));
  }
  at::Tensor rgb = frames.contiguous();
  const int64_t bytes = state.format.height * state.format.width * 3;
  for (int64_t i = 0; i < rgb.size(0); ++i) state.encode(rgb.data_ptr<uint8_t>() + i * bytes);
}

void VideoWriter::write_audio(const at::Tensor& samples) {
  if (!state_->pushed) throw std::invalid_argument("[VideoWriter] sound came, but the format has no audio");
  state_->pushed->write(samples);
}

void VideoWriter::tell(const std::string& metadata) {
  if (metadata.size() > kMostMetadata) throw std::invalid_argument("[VideoWriter] metadata is limited to 1 MB");
  state_->muxer.comment(metadata);
}

StreamTimes VideoWriter::flush() {
  State& state = *state_;
  if (state.frames == 0) throw std::logic_error("[VideoWriter] finish() without a frame");
  if (!state.flushed) {
    state.flushed = true;
    av::check(avcodec_send_frame(state.codec.get(), nullptr), "encoding video");
    state.drain();
    if (state.pushed) state.pushed->finish();
    if (state.kept) state.kept->finish();
  }
  return state.muxer.times();
}

void VideoWriter::finish(const std::string& instead) {
  State& state = *state_;
  if (state.finished) throw std::logic_error("[VideoWriter] finish() was called twice");
  flush();
  state.finished = true;
  state.muxer.finish(instead);
}

}  // namespace wan
