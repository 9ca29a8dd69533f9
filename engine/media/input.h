// Files from strangers: opened without libav*'s protocols, only through known demuxers, within limits.
// Included by this folder's .cpp files only.
#pragma once

#include <cstdint>
#include <string>

#include "engine/media/av.h"
#include "engine/media/media_file.h"
#include "engine/media/tracks.h"

namespace wan::av {

/// A file that is handed in, and the kind of thing that is wanted.
struct Source {
  MediaFile file;
  const char* wanted;  // "a video", "a sound file"

  /// Throws InvalidRequest "[field] must be <wanted>, got 'name': <why>".
  [[noreturn]] void refuse(const std::string& why) const;
};

/// Size of a regular file in bytes. Refuses folders, pipes, devices, empty files and files above `most` bytes.
int64_t checked_size(const Source& source, int64_t most);

/// What libav*'s functions for reading are given.
struct OpenFile {
  int number = -1;
  int error = 0;  // of the system, the last one
};

/// An opened container. Bytes come through this process's own file descriptor: no name reaches libav*, so no playlist,
/// concat list, image pattern or URL can be followed, and what a file asks to be opened beside it is refused.
class Input {
 public:
  /// Throws InvalidRequest where the file is none of the known containers or has no such stream.
  Input(const Source& source, AVMediaType type);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  AVFormatContext& format() { return *format_; }
  AVStream& stream() { return *stream_; }
  bool has(AVMediaType type);
  /// Which of the streams of its kind the chosen one is; pictures of covers do not count.
  Tracks tracks() const;
  /// The next packet of the chosen stream; false at the end, or where the rest of the file cannot be read.
  bool read(AVPacket& packet);
  /// In seconds, where the packets read so far end; in Matroska, FLV and ASF those of all streams.
  double read_to() const { return read_to_; }
  /// Whether `name` is one of libavformat's names for the container ("mov").
  bool is(const char* name) const { return av_match_name(name, format_->iformat->name); }

 private:
  void open(const Source& source);
  void close();
  /// Throws InvalidRequest for a code of libav*'s.
  [[noreturn]] void refuse(const Source& source, int code) const;
  double read_to_ = 0;
  OpenFile file_;
  std::string first_;  // bytes
  AVIOContext* bytes_ = nullptr;
  AVFormatContext* format_ = nullptr;
  AVStream* stream_ = nullptr;
};

/// The chosen stream, decoded.
class Decoder {
 public:
  /// `most_pixels` bounds each picture; pass 0 for sound. Throws InvalidRequest where the codec is unknown.
  Decoder(Source source, AVMediaType type, int64_t most_pixels);

  /// The next frame, in order of display; false at the end. Damaged packets are skipped and counted.
  /// Throws InvalidRequest where a picture is larger than allowed.
  bool next(AVFrame& frame);

  Input& input() { return input_; }
  const Source& source() const { return source_; }
  int64_t damaged_packets() const { return damaged_; }
  /// Of a video: pictures that came from damaged packets, with parts of others in place of what was lost.
  int64_t patched_pictures() const { return patched_; }
  /// The greatest decoding time of the packets read so far; AV_NOPTS_VALUE where the file does not say.
  int64_t last_decoding_time() const { return last_decoding_time_; }
  /// Where the packets read so far end, in the stream's time base; AV_NOPTS_VALUE where the file does not say.
  int64_t end() const { return end_; }

 private:
  void feed();
  Source source_;
  Input input_;
  PictureLimit limit_;
  Codec codec_;
  Packet packet_ = new_packet();
  int64_t damaged_ = 0, patched_ = 0, end_ = AV_NOPTS_VALUE, last_decoding_time_ = AV_NOPTS_VALUE;
  bool drained_ = false;
};

}  // namespace wan::av
