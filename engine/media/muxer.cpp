#include "engine/media/muxer.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <stdexcept>

#include "models/files/error.h"

namespace wan::av {

namespace {

int drop_bytes(void*, uint8_t*, int size) {
  return size;
}

/// The MP4 muxer refuses an output in which it cannot go back.
int64_t go_to(void*, int64_t offset, int whence) {
  return whence & AVSEEK_SIZE ? AVERROR(ENOSYS) : offset;
}

}  // namespace

Muxer::Muxer(const std::string& path, const std::string& comment, Sink sink) : path_(path) {
  silence();
  if (sink == Sink::File) file_.emplace(path);
  // The protocol is named, so that a path like "http:x" stays a path.
  const std::string url = file_ ? "file:" + file_->part() : "";
  const char* const kind = container() == Container::QuickTime ? "mov" : "mp4";
  check(avformat_alloc_output_context2(&format_, nullptr, kind, url.c_str()));
  format_->flags |= AVFMT_FLAG_BITEXACT;  // no version of libavformat, no creation time
  try {
    if (!comment.empty()) this->comment(comment);
    open();
  } catch (...) {
    close();
    throw;
  }
}

void Muxer::open() {
  if (file_) return check(avio_open(&format_->pb, format_->url, AVIO_FLAG_WRITE));
  constexpr int kBytes = 4096;
  auto* buffer = static_cast<uint8_t*>(av_malloc(kBytes));
  if (!buffer) throw std::bad_alloc();
  format_->pb = avio_alloc_context(buffer, kBytes, 1, nullptr, nullptr, drop_bytes, go_to);
  if (!format_->pb) {
    av_free(buffer);
    throw std::bad_alloc();
  }
}

void Muxer::close() {
  if (file_) {
    avio_closep(&format_->pb);
  } else if (format_->pb) {
    av_freep(&format_->pb->buffer);
    avio_context_free(&format_->pb);
  }
  avformat_free_context(format_);
}

Muxer::~Muxer() {
  close();
}

void Muxer::check(int code) const {
  if (code == AVERROR(ENOMEM)) throw std::bad_alloc();
  if (code < 0) throw std::runtime_error("[" + shown_name(path_) + "] cannot be written: " + error_text(code));
}

AVStream& Muxer::add(const AVCodecParameters& parameters, AVRational time_base) {
  AVStream* stream = avformat_new_stream(format_, nullptr);
  if (!stream) throw std::bad_alloc();
  check(avcodec_parameters_copy(stream->codecpar, &parameters));
  stream->codecpar->codec_tag = 0;  // a tag of another container means nothing here
  stream->time_base = time_base;
  return *stream;
}

void Muxer::start() {
  AVDictionary* options = nullptr;
  // QuickTime's own comments end at 64 KiB; under free keys they do not.
  const bool quicktime = container() == Container::QuickTime;
  av_dict_set(&options, "movflags", quicktime ? "+faststart+use_metadata_tags" : "+faststart", 0);
  int code = avformat_write_header(format_, &options);
  av_dict_free(&options);
  check(code);
}

void Muxer::write(AVPacket& packet, AVRational time_base, const AVStream& stream) {
  packet.stream_index = stream.index;
  packet.pos = -1;
  av_packet_rescale_ts(&packet, time_base, stream.time_base);
  if (packet.pts != AV_NOPTS_VALUE) {
    spans_.resize(format_->nb_streams);
    std::optional<StreamSpan>& span = spans_[size_t(stream.index)];
    // What lies before zero, as an encoder's run-in, is hidden by an edit list.
    const double unit = av_q2d(stream.time_base), start = std::max(0.0, double(packet.pts) * unit),
                 end = std::max(0.0, double(packet.pts + packet.duration) * unit);
    if (!span) span = StreamSpan{start, end};
    if (end > 0) span = StreamSpan{std::min(span->start, start), std::max(span->end, end)};
  }
  check(av_interleaved_write_frame(format_, &packet));
  check(format_->pb->error);  // the disk's errors come with the next flush, not with the call that caused them
}

void Muxer::comment(const std::string& text) {
  check(av_dict_set(&format_->metadata, "comment", text.c_str(), 0));
}

StreamTimes Muxer::times() const {
  std::optional<StreamSpan> picture;
  StreamTimes times;
  for (size_t i = 0; i < spans_.size(); ++i) {
    const AVMediaType type = format_->streams[i]->codecpar->codec_type;
    if (type == AVMEDIA_TYPE_VIDEO) picture = spans_[i];
    if (type == AVMEDIA_TYPE_AUDIO) times.sound = spans_[i];
  }
  if (!picture) throw std::logic_error("[Muxer] has no picture yet");
  times.picture = *picture;
  return times;
}

void Muxer::finish(const std::string& instead) {
  if (!file_) throw std::logic_error("[Muxer] finish() without a file");
  check(av_write_trailer(format_));
  avio_flush(format_->pb);
  int error = format_->pb->error;
  int closed = avio_closep(&format_->pb);
  check(error < 0 ? error : closed);
  if (!instead.empty()) file_->move_place(instead);
  file_->commit();
}

}  // namespace wan::av
