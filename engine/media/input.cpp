#include "engine/media/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/media_kind.h"
#include "engine/media/webp_file.h"
#include "engine/request/files.h"
#include "models/files/foreign.h"

namespace wan::av {
namespace {

constexpr int kBufferBytes = 64 << 10;
constexpr size_t kLookedAt = 4096;  // of a file's first bytes, for what stands in its place
// Containers of pictures and sound in one file. Not here: hls, dash, concat, image2, lavfi and all devices.
constexpr const char* kDemuxers =
    "mov,matroska,webm,avi,asf,flv,mpegts,mpeg,mpegvideo,ogg,gif,apng,ivf,h264,hevc,m4v,mxf,nut,dv,yuv4mpegpipe,"
    "wav,w64,aiff,au,caf,flac,mp3,aac,ac3,eac3,amr,wv,tta";

// Hostile timestamps near the ends of int64 would overflow in sums; none that is real comes near.
bool sane(int64_t ticks) {
  return ticks > -(int64_t(1) << 61) && ticks < (int64_t(1) << 61);
}

int read_bytes(void* opaque, uint8_t* buffer, int size) {
  OpenFile& file = *static_cast<OpenFile*>(opaque);
  for (;;) {
    ssize_t got = read(file.number, buffer, size_t(size));
    if (got > 0) return int(got);
    if (got == 0) return AVERROR_EOF;
    if (errno == EINTR) continue;
    file.error = errno;
    return AVERROR(errno);
  }
}

int64_t seek_bytes(void* opaque, int64_t offset, int whence) {
  const int file = static_cast<OpenFile*>(opaque)->number;
  if (whence & AVSEEK_SIZE) {
    struct stat state;
    return fstat(file, &state) == 0 ? int64_t(state.st_size) : AVERROR(errno);
  }
  off_t at = lseek(file, offset, whence & ~AVSEEK_FORCE);
  return at < 0 ? AVERROR(errno) : int64_t(at);
}

int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

}  // namespace

void Source::refuse(const std::string& why) const {
  throw InvalidRequest(file.field, std::string("must be ") + wanted + ", got " + file.shown() + ": " + why);
}

int64_t checked_size(const Source& source, int64_t most) {
  struct stat state;
  if (stat(source.file.path.c_str(), &state) != 0) source.refuse(std::generic_category().message(errno));
  if (!S_ISREG(state.st_mode)) source.refuse("not a regular file");
  if (state.st_size == 0) source.refuse("the file is empty");
  if (state.st_size > most) {
    source.refuse("it has " + std::to_string(state.st_size) + " bytes, at most " + std::to_string(most) + " are read");
  }
  return state.st_size;
}

Input::Input(const Source& source, AVMediaType type) {
  silence();
  checked_size(source, kMostMediaBytes);
  try {
    open(source);
    int index = av_find_best_stream(format_, type, -1, -1, nullptr, 0);
    // A cover picture in a sound file is listed as a video stream of one frame.
    if (index < 0 || (format_->streams[index]->disposition & AV_DISPOSITION_ATTACHED_PIC)) {
      source.refuse(type == AVMEDIA_TYPE_AUDIO ? "it has no sound" : "it has no moving picture");
    }
    stream_ = format_->streams[index];
    // The length that these state is that of their longest stream: how far all reach tells whether the file is whole.
    const bool all = is("matroska") || is("flv") || is("asf");
    for (unsigned i = 0; i < format_->nb_streams && !all; ++i) {
      if (int(i) != index) format_->streams[i]->discard = AVDISCARD_ALL;
    }
  } catch (...) {
    close();
    throw;
  }
}

void Input::refuse(const Source& source, int code) const {
  if (file_.error) source.refuse("reading it fails: " + std::generic_category().message(file_.error));
  if (const std::string found = foreign_content(first_, Content::Binary); !found.empty()) source.refuse("it " + found);
  if (media_kind(first_) == "a picture") source.refuse("it is a picture; i2v takes one with --image");
  if (code == AVERROR_INVALIDDATA && from(first_, 4, 4) == "ftyp")
    source.refuse("its index cannot be read: the file is cut, or its writer was stopped");
  // Demuxers say so, too, where a file ends within a part that it states.
  if (code == AVERROR(EIO)) source.refuse(error_text(AVERROR_EOF) + "; the file is cut");
  source.refuse(code == AVERROR(EINVAL) ? "a kind of file that is not read" : error_text(code));
}

void Input::open(const Source& source) {
  file_.number = ::open(source.file.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_.number < 0) source.refuse(std::generic_category().message(errno));
  first_.resize(kLookedAt);
  first_.resize(size_t(std::max<ssize_t>(pread(file_.number, first_.data(), first_.size(), 0), 0)));
  if (from(first_, 4, 8) == "ftypavif" || from(first_, 4, 8) == "ftypheic" || from(first_, 4, 8) == "ftypmif1")
    source.refuse("it is a picture; i2v takes one with --image");
  if (is_animated_webp(first_)) {
    source.refuse("an animated WebP, which is read as a picture only; convert it to MP4 or GIF");
  }
  auto* buffer = static_cast<uint8_t*>(av_malloc(kBufferBytes));
  if (!buffer) throw std::bad_alloc();
  bytes_ = avio_alloc_context(buffer, kBufferBytes, 0, &file_, read_bytes, nullptr, seek_bytes);
  format_ = avformat_alloc_context();
  if (!bytes_ || !format_) throw std::bad_alloc();
  format_->pb = bytes_;
  format_->io_open = refuse_to_open;
  AVDictionary* options = nullptr;
  av_dict_set(&options, "format_whitelist", kDemuxers, 0);
  int code = avformat_open_input(&format_, nullptr, nullptr, &options);  // frees format_ where it fails
  av_dict_free(&options);
  if (code < 0) refuse(source, code);
  code = avformat_find_stream_info(format_, nullptr);
  if (code < 0) refuse(source, code);
}

void Input::close() {
  avformat_close_input(&format_);
  if (bytes_) av_freep(&bytes_->buffer);
  avio_context_free(&bytes_);
  if (file_.number >= 0) ::close(file_.number);
}

Input::~Input() {
  close();
}

bool Input::has(AVMediaType type) {
  return av_find_best_stream(format_, type, -1, -1, nullptr, 0) >= 0;
}

Tracks Input::tracks() const {
  Tracks tracks{.chosen = 0, .count = 0};
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    const AVStream& stream = *format_->streams[i];
    if (stream.codecpar->codec_type != stream_->codecpar->codec_type ||
        (stream.disposition & AV_DISPOSITION_ATTACHED_PIC))
      continue;
    ++tracks.count;
    if (&stream == stream_) tracks.chosen = tracks.count;
  }
  return tracks;
}

bool Input::read(AVPacket& packet) {
  for (;;) {
    av_packet_unref(&packet);
    if (av_read_frame(format_, &packet) < 0) return false;
    const int64_t at = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;  // AVI has the second only
    if (sane(at) && sane(packet.duration)) {
      const AVRational base = format_->streams[packet.stream_index]->time_base;
      read_to_ = std::max(read_to_, double(at + packet.duration) * av_q2d(base));
    }
    if (packet.stream_index == stream_->index) return true;
  }
}

Decoder::Decoder(Source source, AVMediaType type, int64_t most_pixels)
    : source_(std::move(source)), input_(source_, type), limit_{.pixels = most_pixels} {
  const AVCodecParameters* parameters = input_.stream().codecpar;
  codec_ = new_decoder(parameters->codec_id, parameters);
  if (!codec_) source_.refuse(std::string("no decoder for ") + avcodec_get_name(parameters->codec_id));
  codec_->pkt_timebase = input_.stream().time_base;
  // Frames in flight cost memory, and four threads decode faster than anything here consumes.
  codec_->thread_count = type == AVMEDIA_TYPE_VIDEO ? 4 : 1;
  if (type == AVMEDIA_TYPE_VIDEO) limit_pictures(*codec_, limit_);
  int code = avcodec_open2(codec_.get(), nullptr, nullptr);
  if (code < 0) source_.refuse(error_text(code));
}

bool Decoder::next(AVFrame& frame) {
  for (;;) {
    av_frame_unref(&frame);
    int code = avcodec_receive_frame(codec_.get(), &frame);
    if (code == 0) {
      if (frame.decode_error_flags & ~FF_DECODE_ERROR_MISSING_REFERENCE) ++patched_;
      if (!sane(frame.best_effort_timestamp)) frame.best_effort_timestamp = AV_NOPTS_VALUE;
      return true;
    }
    if (limit_.width > 0) {
      source_.refuse("its pictures have " + std::to_string(limit_.width) + "x" + std::to_string(limit_.height) +
                     " pixels, at most " + std::to_string(limit_.pixels) + " are read");
    }
    if (code == AVERROR_EOF) return false;
    if (code == AVERROR(EAGAIN)) {
      feed();
    } else {
      ++damaged_;
      if (drained_) return false;
    }
  }
}

void Decoder::feed() {
  if (!input_.read(*packet_)) {
    drained_ = true;
    avcodec_send_packet(codec_.get(), nullptr);
    return;
  }
  if (sane(packet_->dts)) last_decoding_time_ = std::max(last_decoding_time_, packet_->dts);
  if (sane(packet_->pts) && sane(packet_->duration)) end_ = std::max(end_, packet_->pts + packet_->duration);
  const bool cut = codec_->codec_type == AVMEDIA_TYPE_VIDEO && (packet_->flags & AV_PKT_FLAG_CORRUPT);
  if (avcodec_send_packet(codec_.get(), packet_.get()) < 0 || cut) ++damaged_;
}

}  // namespace wan::av
