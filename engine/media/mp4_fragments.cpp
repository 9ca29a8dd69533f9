#include "engine/media/mp4_fragments.h"

#include <vector>

#include "engine/media/boxes.h"
#include "engine/media/byte_reader.h"

namespace wan {
namespace {

constexpr int kMostParts = 1'000'000;            // of a file
constexpr uint64_t kMostBytes = 16 << 20;        // of a list of frames
constexpr uint64_t kMostFrames = 100'000;        // of a track: those behind are not looked at
constexpr uint64_t kLatest = uint64_t(1) << 53;  // of times

/// A list of frames that is longer, or states other times, than any honest one.
struct BeyondLimits {};

/// The duration of frames that state none, by the head of the file (ISO/IEC 14496-12, 8.8.3).
uint64_t default_duration(Bytes moov, uint32_t track) {
  for (const Box& box : boxes_in(box_in(moov, "mvex")))
    if (box.type == "trex" && big(box.content, 4, 4) == track) return big(box.content, 12, 4);
  return 0;
}

class Frames {
 public:
  Frames(uint32_t track, FrameGaps& gaps) : track_(track), gaps_(gaps) {}

  void read_head(Bytes moov) { default_ = default_duration(moov, track_); }

  /// The frames of a fragment (8.8.4 to 8.8.12).
  void read(Bytes moof) {
    for (const Box& part : boxes_in(moof)) {
      if (part.type != "traf") continue;
      const Bytes head = box_in(part.content, "tfhd"), start = box_in(part.content, "tfdt");
      if (big(head, 4, 4) != track_ || start.empty()) continue;
      constexpr uint64_t kOffset = 1, kDescription = 2, kDuration = 8;
      const uint64_t flags = big(head, 0, 4);
      const size_t at = 8 + (flags & kOffset ? 8 : 0) + (flags & kDescription ? 4 : 0);
      const uint64_t duration = flags & kDuration ? big(head, at, 4) : default_;
      time_ = big(start, 4, big(start, 0, 1) == 1 ? 8 : 4);
      for (const Box& box : boxes_in(part.content))
        if (box.type == "trun") read_run(box.content, duration);
    }
  }

 private:
  void read_run(Bytes run, uint64_t usual) {
    constexpr uint64_t kOffset = 1, kFirstFlags = 4, kDuration = 0x100, kSize = 0x200, kFlags = 0x400, kShown = 0x800;
    const uint64_t flags = big(run, 0, 4), count = big(run, 4, 4);
    const auto bytes = [&](uint64_t flag, size_t size) { return flags & flag ? size : 0; };
    const size_t each = bytes(kDuration, 4) + bytes(kSize, 4) + bytes(kFlags, 4) + bytes(kShown, 4);
    size_t at = 8 + bytes(kOffset, 4) + bytes(kFirstFlags, 4);
    for (uint64_t frame = 0; frame < count; ++frame, at += each) {
      if (++frames_ > kMostFrames || time_ > kLatest) throw BeyondLimits();
      const uint64_t duration = flags & kDuration ? big(run, at, 4) : usual;
      if (frames_ == 1) origin_ = time_;
      gaps_.add(int64_t(time_) - int64_t(origin_), int64_t(duration));
      time_ += duration;
    }
  }

  uint32_t track_;
  FrameGaps& gaps_;
  uint64_t default_ = 0, origin_ = 0, time_ = 0, frames_ = 0;
};

}  // namespace

void add_fragments(const std::string& path, uint32_t track, FrameGaps& gaps) try {
  ByteReader file(path);
  Frames frames(track, gaps);
  uint64_t at = 0;
  for (int parts = 0; at < file.size() && parts < kMostParts; ++parts) {
    const std::string head = file.at(at, 16);
    uint64_t size = big(head, 0, 4), before = 8;
    if (size == 1) size = big(head, 8, 8), before = 16;
    if (size < before || size > file.size() - at) return;
    const Bytes type = from(head, 4, 4);
    if (type == "moov" || type == "moof") {
      if (size > kMostBytes) return;
      const std::string content = file.at(at + before, size_t(size - before));
      if (type == "moov")
        frames.read_head(content);
      else
        frames.read(content);
    }
    at += size;
  }
} catch (const TooManyBoxes&) {
} catch (const BeyondLimits&) {
}

}  // namespace wan
