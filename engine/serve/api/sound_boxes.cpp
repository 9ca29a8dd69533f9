// Boxes of ISO media files (ISO 14496-12): MP4, M4A, QuickTime.
#include <algorithm>
#include <functional>
#include <initializer_list>
#include <optional>

#include "engine/serve/api/sound_bytes.h"

namespace wan::serve {
namespace {

constexpr int kMostBoxes = 10'000;
constexpr uint64_t kUnknown = UINT64_MAX;

struct Box {
  std::string type;
  uint64_t begin = 0, end = 0;  // of its content
};

class Boxes {
 public:
  explicit Boxes(SoundBytes& file) : file_(file) {}

  /// Calls `use` for each box between two places until it returns false. False where the boxes there are none, or lead out
  /// of their place.
  bool each(uint64_t at, uint64_t end, const std::function<bool(const Box&)>& use) {
    while (at + 8 <= end) {
      if (++seen_ > kMostBoxes) return false;
      const std::string head = file_.read(at, 16);
      uint64_t size = big_endian(head, 0, 4), header = 8;
      if (size == 1) size = big_endian(head, 8, 8), header = 16;
      if (size == 0) size = end - at;  // the last one, up to the end
      if (head.size() < header || size < header || size > end - at) return false;
      if (!use({head.substr(4, 4), at + header, at + size})) return true;
      at += size;
    }
    return true;
  }
  /// The first box of the types, each in the one before it.
  std::optional<Box> find(Box in, std::initializer_list<const char*> types) {
    for (const char* type : types) {
      std::optional<Box> found;
      each(in.begin, in.end, [&](const Box& box) {
        if (box.type == type) found = box;
        return !found;
      });
      if (!found) return std::nullopt;
      in = *found;
    }
    return in;
  }
  std::string content(const Box& box, size_t most) {
    return file_.read(box.begin, size_t(std::min<uint64_t>(most, box.end - box.begin)));
  }

 private:
  SoundBytes& file_;
  int seen_ = 0;
};

struct Times {
  uint64_t scale = 0, duration = kUnknown;  // units a second, units
  double seconds() const { return scale > 0 && duration != kUnknown ? double(duration) / double(scale) : -1; }
};

/// Of a box mvhd or mdhd: version and flags, two dates, scale, duration; the last and the dates have 8 bytes in version 1.
Times times_of(std::string_view header) {
  const size_t size = big_endian(header, 0, 1) == 1 ? 8 : 4, at = 4 + 2 * size;
  if (header.size() < at + 4 + size) return {};
  const uint64_t duration = big_endian(header, at + 4, size);
  const bool is_unknown = duration == 0 || duration == (size == 4 ? UINT32_MAX : UINT64_MAX);
  return {big_endian(header, at, 4), is_unknown ? kUnknown : duration};
}

/// What a track lasts after its edits, in units of the movie: of tkhd.
uint64_t shown_length(std::string_view header) {
  const size_t size = big_endian(header, 0, 1) == 1 ? 8 : 4, at = 4 + 2 * size + 8;
  if (header.size() < at + size) return kUnknown;
  const uint64_t duration = big_endian(header, at, size);
  return duration == 0 || duration == (size == 4 ? UINT32_MAX : UINT64_MAX) ? kUnknown : duration;
}

double seconds_of_track(Boxes& boxes, const Box& track, uint64_t movie_scale) {
  const auto handler = boxes.find(track, {"mdia", "hdlr"}), media = boxes.find(track, {"mdia", "mdhd"}),
             header = boxes.find(track, {"tkhd"});
  if (!handler || !media || !stands_at(boxes.content(*handler, 12), 8, "soun")) return -1;
  const double all = times_of(boxes.content(*media, 64)).seconds();
  const Times shown = {movie_scale, header ? shown_length(boxes.content(*header, 64)) : kUnknown};
  return all > 0 && shown.seconds() > 0 ? std::min(all, shown.seconds()) : all;
}

}  // namespace

double seconds_of_boxes(SoundBytes& file) {
  Boxes boxes(file);
  std::optional<Box> movie;
  const bool whole = boxes.each(0, file.size(), [&](const Box& box) {
    if (box.type == "moov") movie = box;
    return true;
  });
  // A file that was cut off has less than its head says; what comes in fragments says nothing there.
  if (!whole || !movie) return -1;
  const auto header = boxes.find(*movie, {"mvhd"});
  const uint64_t scale = header ? times_of(boxes.content(*header, 64)).scale : 0;
  double shortest = -1;
  boxes.each(movie->begin, movie->end, [&](const Box& box) {
    const double seconds = box.type == "trak" ? seconds_of_track(boxes, box, scale) : -1;
    if (seconds > 0 && (shortest < 0 || seconds < shortest)) shortest = seconds;
    return true;
  });
  return shortest;
}

}  // namespace wan::serve
