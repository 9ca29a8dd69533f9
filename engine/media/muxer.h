// Writes an MP4 or QuickTime file: streams are added, packets written, and at the end it appears under its name.
// Included by this folder's .cpp files only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/media/av.h"
#include "engine/media/container.h"
#include "engine/media/stream_times.h"
#include "models/files/atomic_file.h"

namespace wan::av {

/// Where the bytes go: nowhere, to see whether the header can be written.
enum class Sink { File, Nowhere };

class Muxer {
 public:
  /// Creates `path`.part, whose ending decides the container. `comment` becomes the file's comment (©cmt); empty: none.
  Muxer(const std::string& path, const std::string& comment, Sink sink = Sink::File);
  ~Muxer();
  Muxer(const Muxer&) = delete;
  Muxer& operator=(const Muxer&) = delete;

  AVFormatContext& format() { return *format_; }
  Container container() const { return container_of(path_); }
  /// A new stream with these parameters; all streams come before start().
  AVStream& add(const AVCodecParameters& parameters, AVRational time_base);
  /// Writes the header.
  void start();
  /// Takes the packet over; its times are in `time_base`.
  void write(AVPacket& packet, AVRational time_base, const AVStream& stream);
  /// Another comment than that of the constructor; before finish(), which writes it.
  void comment(const std::string& text);
  /// Of the packets so far. Throws std::logic_error before the first picture.
  StreamTimes times() const;
  /// Moves the index to the front, flushes to the disk and renames: to `instead` where that is not empty.
  void finish(const std::string& instead = "");

 private:
  void open();
  void close();
  void check(int code) const;  // throws std::runtime_error with path and errno text
  std::string path_;
  std::optional<AtomicFile> file_;
  AVFormatContext* format_ = nullptr;
  std::vector<std::optional<StreamSpan>> spans_;  // of the streams
};

}  // namespace wan::av
