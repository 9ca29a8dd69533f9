#include "engine/media/muxer.h"

#include <new>
#include <stdexcept>

#include "models/files/error.h"

namespace wan::av {

Muxer::Muxer(std::string path, const std::string& comment) : path_(path), file_(std::move(path)) {
  silence();
  // The protocol is named, so that a path like "http:x" stays a path.
  check(avformat_alloc_output_context2(&format_, nullptr, "mp4", ("file:" + file_.part()).c_str()));
  format_->flags |= AVFMT_FLAG_BITEXACT;  // no version of libavformat, no creation time
  int code = comment.empty() ? 0 : av_dict_set(&format_->metadata, "comment", comment.c_str(), 0);
  if (code >= 0) code = avio_open(&format_->pb, format_->url, AVIO_FLAG_WRITE);
  if (code < 0) {
    avformat_free_context(format_);
    check(code);
  }
}

Muxer::~Muxer() {
  avio_closep(&format_->pb);
  avformat_free_context(format_);
}

void Muxer::check(int code) const {
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
  av_dict_set(&options, "movflags", "+faststart", 0);
  int code = avformat_write_header(format_, &options);
  av_dict_free(&options);
  check(code);
}

void Muxer::write(AVPacket& packet, AVRational time_base, const AVStream& stream) {
  packet.stream_index = stream.index;
  packet.pos = -1;
  av_packet_rescale_ts(&packet, time_base, stream.time_base);
  check(av_interleaved_write_frame(format_, &packet));
  check(format_->pb->error);  // the disk's errors come with the next flush, not with the call that caused them
}

void Muxer::finish() {
  check(av_write_trailer(format_));
  avio_flush(format_->pb);
  int error = format_->pb->error;
  int closed = avio_closep(&format_->pb);
  check(error < 0 ? error : closed);
  file_.commit();
}

}  // namespace wan::av
