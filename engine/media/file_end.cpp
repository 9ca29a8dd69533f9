#include "engine/media/file_end.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "engine/media/byte_reader.h"
#include "engine/media/bytes.h"

namespace wan {
namespace {

constexpr int kMostParts = 1'000'000;  // then the end is taken as whole

/// Where what is `size` bytes long and begins at `at` ends; nothing where that is beyond any file.
std::optional<uint64_t> behind(uint64_t at, uint64_t size) {
  uint64_t end = 0;
  return __builtin_add_overflow(at, size, &end) ? std::nullopt : std::optional(end);
}

/// A number of EBML: its bytes, and its value without the bit that says how many they are.
struct Number {
  int bytes = 0;
  uint64_t value = 0;
  bool unknown = false;  // all bits set: a length that its writer did not know
};

Number ebml_number(const std::string& bytes, size_t at, bool keep_mark) {
  if (at >= bytes.size()) return {};
  const auto first = uint8_t(bytes[at]);
  int length = 1;
  while (length <= 8 && !(first & 0x80 >> (length - 1))) ++length;
  if (length > 8 || at + size_t(length) > bytes.size()) return {};
  Number number{length, keep_mark ? first : uint64_t(first & ((0x80 >> (length - 1)) - 1))};
  bool ones = number.value == uint64_t((0x80 >> (length - 1)) - 1);
  for (int i = 1; i < length; ++i) {
    const auto next = uint8_t(bytes[at + size_t(i)]);
    number.value = number.value << 8 | next;
    ones = ones && next == 0xFF;
  }
  number.unknown = ones && !keep_mark;
  return number;
}

}  // namespace

FileEnd end_of_boxes(const std::string& path) {
  ByteReader file(path);
  uint64_t at = 0;
  for (int parts = 0; at < file.size() && parts < kMostParts; ++parts) {
    const std::string head = file.at(at, 16);
    // What some programs put behind the last box is none.
    if (head.size() < 8 ||
        !std::all_of(head.begin() + 4, head.begin() + 8, [](char c) { return c >= ' ' && c <= '~'; }))
      return FileEnd::Whole;
    uint64_t size = number(head, 0, 4, false);
    if (size == 0) return FileEnd::Whole;  // to the end of the file
    if (size == 1 && head.size() < 16) return FileEnd::Cut;
    if (size == 1) size = number(head, 8, 8, false);
    if (size < 8) return FileEnd::Whole;
    const auto end = behind(at, size);
    if (!end || *end > file.size()) return FileEnd::Cut;
    at = *end;
  }
  return FileEnd::Whole;
}

FileEnd end_of_elements(const std::string& path) {
  constexpr uint64_t kSegment = 0x18538067, kCluster = 0x1F43B675;
  ByteReader file(path);
  uint64_t at = 0;
  for (int parts = 0; at < file.size() && parts < kMostParts; ++parts) {
    const std::string head = file.at(at, 16);
    const Number id = ebml_number(head, 0, true), size = ebml_number(head, size_t(id.bytes), false);
    if (id.bytes == 0 || size.bytes == 0) return head.size() < 12 ? FileEnd::Cut : FileEnd::Whole;
    at += uint64_t(id.bytes + size.bytes);
    if (id.value == kSegment || id.value == kCluster) continue;  // what is in it follows
    if (size.unknown) return FileEnd::Whole;
    const auto end = behind(at, size.value);
    if (!end || *end > file.size()) return FileEnd::Cut;
    at = *end;
  }
  return FileEnd::Whole;
}

namespace {

/// One stream (PID) of a transport stream. Of its packet (PES) that was begun last: how much its head states, 0 where
/// it does not say, and how much is there.
struct Stream {
  uint64_t stated = 0, there = 0;
  uint64_t last = 0, farthest = 0;  // its last transport packet, and the most from one to its next
  uint64_t counter = 0;             // of the last one with a payload, modulo 16
  bool seen = false, lost = false;  // a part of the PES that was begun last is lost

  /// Whether the PES was still being written where the file ends, at transport packet `end`. One that lacks a part in
  /// its middle is damaged, and a stream that ended before, or that is a damaged head of another one, is not cut here.
  bool is_cut(uint64_t end) const { return there < stated && !lost && end - last <= farthest + 1; }
};

/// Takes one packet of 188 bytes, number `index`.
void take_packet(const std::string& packet, uint64_t index, std::map<uint64_t, Stream>& streams) {
  const uint64_t flags = number(packet, 1, 2, false);
  constexpr char kSync = 0x47;
  if (packet[0] != kSync || (flags & 0x8000)) {  // damaged: whose it was is not known
    for (auto& [name, stream] : streams) stream.lost = true;
    return;
  }
  Stream& stream = streams[flags & 0x1FFF];
  const bool begins = flags & 0x4000, has_payload = packet[3] & 0x10, has_adaptation = packet[3] & 0x20;
  if (stream.seen) stream.farthest = std::max(stream.farthest, index - stream.last);
  stream.last = index;
  size_t at = 4;
  if (has_adaptation) at += 1 + uint8_t(packet[4]);
  if (!has_payload || at >= packet.size()) return;
  const uint64_t counter = uint64_t(packet[3]) & 15;
  if (stream.seen && counter != stream.counter && counter != (stream.counter + 1) % 16) stream.lost = true;
  stream.seen = true;
  stream.counter = counter;
  if (begins) {
    stream.stated = stream.there = 0;
    stream.lost = false;
    constexpr size_t kHead = 6;
    if (packet.size() - at < kHead || packet.compare(at, 3, std::string("\0\0\1", 3)) != 0) return;
    const uint64_t length = number(packet, at + 4, 2, false);
    if (length > 0) stream.stated = kHead + length;
  }
  stream.there += packet.size() - at;
}

/// Whether the file ends within a packet of a stream, by what the head of that states. Transport packets are whole.
FileEnd end_of_streams(ByteReader& file, uint64_t length, uint64_t before) {
  constexpr uint64_t kTail = 4096;  // packets: several of 64 KB, the longest that a head can state
  constexpr size_t kPacket = 188;
  const uint64_t count = file.size() / length, first = count - std::min(count, kTail);
  const std::string tail = file.at(first * length, size_t((count - first) * length));
  std::map<uint64_t, Stream> streams;
  uint64_t index = 0;
  for (uint64_t at = before; at + kPacket <= tail.size(); at += length)
    take_packet(tail.substr(size_t(at), kPacket), index++, streams);
  const bool cut =
      std::any_of(streams.begin(), streams.end(), [index](const auto& stream) { return stream.second.is_cut(index); });
  return cut ? FileEnd::Cut : FileEnd::Whole;
}

}  // namespace

FileEnd end_of_packets(const std::string& path) {
  constexpr std::array<std::array<uint64_t, 2>, 3> kPackets = {
      {{188, 0}, {192, 4}, {204, 0}}};  // length, before the sync
  constexpr char kSync = 0x47;
  ByteReader file(path);
  for (const auto& [length, before] : kPackets) {
    bool found = true;
    for (uint64_t i = 0; i < 4; ++i) {
      const std::string sync = file.at(i * length + before, 1);
      found = found && !sync.empty() && sync[0] == kSync;
    }
    if (found) return file.size() % length == 0 ? end_of_streams(file, length, before) : FileEnd::Cut;
  }
  return FileEnd::Whole;
}

std::optional<AsfHead> asf_head(const std::string& path) {
  using namespace std::string_literals;
  const std::string kHeader = "\x30\x26\xB2\x75\x8E\x66\xCF\x11\xA6\xD9\x00\xAA\x00\x62\xCE\x6C"s;
  const std::string kProperties = "\xA1\xDC\xAB\x8C\x47\xA9\xCF\x11\x8E\xE4\x00\xC0\x0C\x20\x53\x65"s;
  constexpr uint64_t kFirst = 30;  // behind the header's own identifier, size, count and two reserved bytes
  constexpr size_t kBytes = 104;   // of the properties
  ByteReader file(path);
  if (file.at(0, 16) != kHeader) return std::nullopt;
  uint64_t at = kFirst;
  for (int parts = 0; parts < kMostParts; ++parts) {
    const std::string part = file.at(at, kBytes);
    if (part.size() < 24) return std::nullopt;
    const uint64_t size = number(part, 16, 8, true);
    if (part.starts_with(kProperties) && part.size() == kBytes) {
      constexpr uint64_t kLive = 1;
      if (number(part, 88, 4, true) & kLive) return std::nullopt;
      const double lasts = double(number(part, 64, 8, true)) / 1e7, before = double(number(part, 80, 8, true)) / 1e3;
      return AsfHead{number(part, 40, 8, true), std::max(lasts - before, 0.0), file.size()};
    }
    const auto next = behind(at, size);
    if (size < 24 || !next) return std::nullopt;
    at = *next;
  }
  return std::nullopt;
}

FileEnd end_of_gif(const std::string& path) {
  constexpr char kTrailer = 0x3B;
  ByteReader file(path);
  constexpr uint64_t kTail = 64;  // some writers put zeros behind the mark
  const std::string tail = file.at(file.size() - std::min(file.size(), kTail), kTail);
  const size_t last = tail.find_last_not_of('\0');
  return last != std::string::npos && tail[last] == kTrailer ? FileEnd::Whole : FileEnd::Unmarked;
}

}  // namespace wan
