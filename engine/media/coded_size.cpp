#include "engine/media/coded_size.h"

#include <algorithm>
#include <string>

#include "engine/media/bits.h"

namespace wan {
namespace {

/// Timing and decoder model; returns the bits of a buffer delay, 0 where there is no model.
int skip_av1_timing(Bits& bits) {
  if (!bits.read(1)) return 0;
  bits.skip(64);
  if (bits.read(1)) bits.read_ue();  // uvlc
  if (!bits.read(1)) return 0;
  const int delay = int(bits.read(5)) + 1;
  bits.skip(32 + 5 + 5);
  return delay;
}

void skip_av1_operating_points(Bits& bits) {
  const int delay = skip_av1_timing(bits);
  const bool display_delay = bits.read(1);
  for (int points = int(bits.read(5)) + 1; points > 0; --points) {
    bits.skip(12);
    if (bits.read(5) > 7) bits.skip(1);
    if (delay > 0 && bits.read(1)) bits.skip(size_t(2 * delay + 1));
    if (display_delay && bits.read(1)) bits.skip(4);
  }
}

PixelSize av1_sequence_size(Bytes header) {
  Bits bits(header);
  bits.skip(3 + 1);  // profile, still picture
  if (bits.read(1)) {
    bits.skip(5);  // reduced header: a level alone
  } else {
    skip_av1_operating_points(bits);
  }
  const int width_bits = int(bits.read(4)) + 1, height_bits = int(bits.read(4)) + 1;
  const uint64_t width = bits.read(width_bits) + 1;
  return {width, bits.read(height_bits) + 1};
}

/// LEB128: seven bits a byte, the lowest first, while the eighth is set. Moves `at` behind it.
uint64_t read_leb128(Bytes bytes, size_t& at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) {
    const uint64_t byte = number(bytes, at++, 1, false);
    value |= (byte & 127) << 7 * i;
    if (!(byte & 128)) break;
  }
  return value;
}

/// A NAL unit without the bytes 3 that keep its content from looking like a start code.
std::string unescaped(Bytes unit) {
  std::string plain;
  int zeros = 0;
  for (char byte : unit) {
    if (zeros >= 2 && byte == 3) {
      zeros = 0;
      continue;
    }
    zeros = byte == 0 ? zeros + 1 : 0;
    plain += byte;
  }
  return plain;
}

void skip_hevc_profiles(Bits& bits, int sub_layers) {
  bits.skip(88 + 8);
  bool profile[8] = {}, level[8] = {};
  for (int i = 0; i < (sub_layers > 0 ? 8 : 0); ++i) profile[i] = bits.read(1), level[i] = bits.read(1);
  for (int i = 0; i < sub_layers; ++i) bits.skip((profile[i] ? 88 : 0) + (level[i] ? 8 : 0));
}

}  // namespace

PixelSize larger(PixelSize a, PixelSize b) {
  return {std::max(a.width, b.width), std::max(a.height, b.height)};
}

PixelSize av1_size(Bytes obus) {
  constexpr uint64_t kSequenceHeader = 1;
  PixelSize size;
  for (size_t at = 0; at < obus.size();) {
    const uint64_t head = number(obus, at++, 1, false);
    if (head & 4) ++at;  // an extension
    const uint64_t length = head & 2 ? read_leb128(obus, at) : obus.size();
    if ((head >> 3 & 15) == kSequenceHeader) size = larger(size, av1_sequence_size(from(obus, at, length)));
    if (at >= obus.size() || length > obus.size() - at) break;
    at += length;
  }
  return size;
}

PixelSize hevc_unit_size(Bytes unit) {
  constexpr uint64_t kParameters = 33, kSeparatePlanes = 3;
  constexpr size_t kMostBytes = 4096;  // sizes stand near the beginning
  if ((number(unit, 0, 1, false) >> 1 & 63) != kParameters) return {};
  const std::string plain = unescaped(from(unit, 2, kMostBytes));
  Bits bits(plain);
  bits.skip(4);
  const int sub_layers = int(bits.read(3));
  bits.skip(1);
  skip_hevc_profiles(bits, sub_layers);
  bits.read_ue();
  if (bits.read_ue() == kSeparatePlanes) bits.skip(1);
  const uint64_t width = bits.read_ue();
  return {width, bits.read_ue()};
}

PixelSize hevc_size(Bytes units, size_t length_bytes) {
  PixelSize size;
  for (size_t at = 0; at + length_bytes < units.size();) {
    const uint64_t length = number(units, at, length_bytes, false);
    at += length_bytes;
    size = larger(size, hevc_unit_size(from(units, at, length)));
    if (length > units.size() - at) break;
    at += length;
  }
  return size;
}

}  // namespace wan
