#include "engine/media/jpeg2000.h"

namespace wan {
namespace {

constexpr Bytes kSignature("\0\0\0\x0CjP  \r\n\x87\n", 12), kStream("\xFF\x4F\xFF\x51");
constexpr int kTilePart = 0xFF90, kEnd = 0xFFD9;
constexpr uint64_t kSrgb = 16, kGrey = 17, kSycc = 18;

uint64_t big(Bytes bytes, size_t at, size_t width) {
  return number(bytes, at, width, false);
}

// The content of the first box of this name: length, name; a length of 1 is followed by one of 8 bytes, 0 is the rest.
Bytes box(Bytes boxes, Bytes name) {
  for (size_t at = 0; at + 8 <= boxes.size();) {
    uint64_t length = big(boxes, at, 4), header = 8;
    if (length == 1) {
      length = big(boxes, at + 8, 8);
      header = 16;
    }
    const bool last = length == 0 || length > boxes.size() - at;
    if (from(boxes, at + 4, 4) == name) return from(boxes, at + header, last ? Bytes::npos : length - header);
    if (last || length < header) break;
    at += length;
  }
  return {};
}

bool is_whole(Bytes stream) {
  bool tiles = false;
  for (size_t at = 2; at + 2 <= stream.size();) {
    const int marker = int(big(stream, at, 2));
    if (marker == kEnd) return tiles;
    uint64_t length = 2 + big(stream, at + 2, 2);
    if (marker == kTilePart) {
      tiles = true;
      length = big(stream, at + 6, 4);
      if (length == 0) return from(stream, at).find("\xFF\xD9") != Bytes::npos;  // the last one, up to the end mark
      if (length < 14) return false;
    }
    if (marker < 0xFF00 || length < 4 || length > stream.size() - at) return false;
    at += length;
  }
  return false;
}

// The segment SIZ: capabilities, sizes, then for each channel bits - 1 (above 127: with a sign) and steps in x and y.
std::string fault_of_channels(Bytes stream, bool sycc) {
  const uint64_t channels = big(stream, 40, 2), bits = 1 + big(stream, 42, 1);
  if (big(stream, 6, 2) & 0x4000) return "a high-throughput JPEG 2000; save it as PNG";
  if (channels < 1 || channels > 4) return "a JPEG 2000 of " + std::to_string(channels) + " channels; save it as PNG";
  for (uint64_t i = 0; i < channels; ++i) {
    const size_t at = size_t(42 + 3 * i);
    if (1 + big(stream, at, 1) != bits || bits > 16) {
      return "a JPEG 2000 whose channels have a sign, more than 16 bits or different ones; save it as PNG";
    }
    if (!sycc && (big(stream, at + 1, 1) != 1 || big(stream, at + 2, 1) != 1)) {
      return "a JPEG 2000 whose channels differ in size; save it as PNG";
    }
  }
  return {};
}

// Channel definitions: a count, then number, kind (0 colour, 1 and 2 alpha) and place of each, 2 bytes each.
bool has_alpha_last(Bytes definitions, uint64_t channels) {
  if (big(definitions, 0, 2) != channels) return false;
  for (uint64_t i = 0; i < channels; ++i) {
    const size_t at = size_t(2 + 6 * i);
    const uint64_t kind = big(definitions, at + 2, 2), place = big(definitions, at + 4, 2);
    const bool alpha = i + 1 == channels;
    if (big(definitions, at, 2) != i || (alpha ? kind != 1 && kind != 2 : kind != 0 || place != i + 1)) return false;
  }
  return true;
}

}  // namespace

bool is_jpeg2000(Bytes file) {
  return starts_with(file, kSignature) || starts_with(file, kStream);
}

Jpeg2000 read_jpeg2000(Bytes file) {
  const bool bare = starts_with(file, kStream);
  const Bytes stream = bare ? file : box(file, "jp2c"), header = bare ? Bytes() : box(file, "jp2h");
  if (!starts_with(stream, kStream) || !is_whole(stream)) return {.wrong = "it is truncated"};
  const Bytes colour = box(header, "colr");
  const uint64_t space = big(colour, 0, 1) == 1 ? big(colour, 3, 4) : 0;
  Jpeg2000 picture{.wrong = fault_of_channels(stream, space == kSycc)};
  if (!picture.wrong.empty()) return picture;
  const uint64_t channels = big(stream, 40, 2);
  const Bytes definitions = box(header, "cdef");
  if (!box(header, "pclr").empty()) {
    picture.wrong = "a JPEG 2000 with a palette; save it as PNG";
  } else if (space != 0 && space != kSrgb && space != kGrey && space != kSycc) {
    picture.wrong =
        "a JPEG 2000 in the colour space " + std::to_string(space) + ", not sRGB, grey or sYCC; save it as PNG";
  } else if (channels % 2 == 0 ? !has_alpha_last(definitions, channels)
                               : !definitions.empty() && channels == 3 && big(definitions, 6, 2) != 1) {
    picture.wrong = "a JPEG 2000 whose channels are not colours and alpha, in this order; save it as PNG";
  }
  if (colour.size() > 3 && big(colour, 0, 1) != 1) picture.profile = colour.substr(3);
  return picture;
}

}  // namespace wan
