// Pages of Ogg (RFC 3533): each tells how many samples of its stream end with it.
#include <algorithm>
#include <optional>

#include "engine/serve/api/sound_bytes.h"

namespace wan::serve {
namespace {

constexpr size_t kPageHeader = 27, kTail = 128 << 10;  // a page has 65,307 bytes at most
constexpr int kMostPages = 4096;                       // before the first one with samples: a picture may come first
constexpr double kSoon = 2;                            // seconds that a first page of samples may have
constexpr uint64_t kNone = UINT64_MAX;                 // no packet ends with the page

struct Page {
  bool begins = false;   // its stream
  uint64_t samples = 0;  // of the stream up to its end, or kNone
  uint32_t stream = 0;
  uint64_t content = 0, bytes = 0;  // where its content begins, and all that it has
};

/// The page whose header stands at a place of `bytes`.
std::optional<Page> page_at(std::string_view bytes, size_t at) {
  if (!stands_at(bytes, at, std::string_view("OggS\0", 5)) || bytes.size() < at + kPageHeader) return std::nullopt;
  const size_t segments = uint8_t(bytes[at + 26]);
  Page page{.begins = (uint8_t(bytes[at + 5]) & 2) != 0,
            .samples = little_endian(bytes, at + 6, 8),
            .stream = uint32_t(little_endian(bytes, at + 14, 4))};
  page.content = page.bytes = kPageHeader + segments;
  for (size_t i = 0; i < segments; ++i) page.bytes += little_endian(bytes, at + kPageHeader + i, 1);
  return page;
}

struct Stream {
  uint32_t number = 0;
  uint64_t rate = 0, skipped = 0;  // samples a second; samples at its begin that are not heard
};

/// The stream that begins with a packet, where it is a sound of a known kind.
std::optional<Stream> sound_stream(uint32_t number, std::string_view packet) {
  if (stands_at(packet, 0, "\x01vorbis")) return Stream{number, little_endian(packet, 12, 4), 0};
  if (stands_at(packet, 0, "OpusHead")) return Stream{number, 48000, little_endian(packet, 10, 2)};
  if (stands_at(packet, 0,
                "\x7F"
                "FLAC"))
    return Stream{number, big_endian(packet, 27, 3) >> 4, 0};
  if (stands_at(packet, 0, "Speex   ")) return Stream{number, little_endian(packet, 36, 4), 0};
  return std::nullopt;
}

/// The first sound, and the samples up to the end of its first page that has some.
struct Begin {
  Stream stream;
  uint64_t samples = 0;
};

std::optional<Begin> find_begin(SoundBytes& file) {
  std::optional<Stream> sound;
  uint64_t at = 0;
  for (int i = 0; i < kMostPages; ++i) {
    const std::string head = file.read(at, kPageHeader + 255 + 64);
    const std::optional<Page> page = page_at(head, 0);
    if (!page) return std::nullopt;
    const std::string_view packet = std::string_view(head).substr(std::min<size_t>(head.size(), size_t(page->content)));
    if (page->begins && !sound) sound = sound_stream(page->stream, packet);
    const bool has_samples = page->samples != 0 && page->samples != kNone;
    if (sound && page->stream == sound->number && has_samples) return Begin{*sound, page->samples};
    at += page->bytes;
  }
  return std::nullopt;
}

/// The samples of a stream at its last page; nothing where another stream ends the file.
std::optional<uint64_t> last_samples(SoundBytes& file, uint32_t stream) {
  const std::string tail = file.read(file.size() - std::min<uint64_t>(file.size(), kTail), kTail);
  for (size_t at = tail.rfind("OggS"); at != tail.npos; at = at == 0 ? tail.npos : tail.rfind("OggS", at - 1)) {
    const std::optional<Page> page = page_at(tail, at);
    if (page && page->stream == stream && page->samples != kNone) return page->samples;
  }
  return std::nullopt;
}

}  // namespace

double seconds_of_pages(SoundBytes& file) {
  const std::optional<Begin> begin = find_begin(file);
  if (!begin || begin->stream.rate == 0) return -1;
  const std::optional<uint64_t> last = last_samples(file, begin->stream.number);
  if (!last) return -1;
  const double rate = double(begin->stream.rate);
  // What was recorded from a broadcast counts on from what came before.
  const bool is_whole = double(begin->samples) <= kSoon * rate;
  const uint64_t first = is_whole ? begin->stream.skipped : begin->samples;
  return *last > first ? double(*last - first) / rate : -1;
}

}  // namespace wan::serve
