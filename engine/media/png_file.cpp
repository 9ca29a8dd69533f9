#include "engine/media/png_file.h"

extern "C" {
#include <libavutil/crc.h>
}

#include <algorithm>
#include <vector>

#include "engine/media/inflated.h"

namespace wan {
namespace {

constexpr size_t kSignature = 8, kAround = 12;  // length and name before the data, checksum behind
constexpr Bytes kEnd("\0\0\0\0IEND\xAE\x42\x60\x82", 12);

struct Chunk {
  Bytes name, data, whole;
  bool valid = false;
};

Chunk chunk_at(Bytes file, size_t at) {
  const size_t length = number(file, at, 4, false);
  const Bytes whole = from(file, at, length + kAround), summed = from(whole, 4, length + 4);
  if (whole.size() < length + kAround) return {};
  const AVCRC* table = av_crc_get_table(AV_CRC_32_IEEE_LE);
  const uint32_t sum = ~av_crc(table, ~0u, reinterpret_cast<const uint8_t*>(summed.data()), summed.size());
  return {summed.substr(0, 4), summed.substr(4), whole, sum == number(whole, length + 8, 4, false)};
}

bool is_critical(const Chunk& chunk) {
  return !(chunk.name[0] & 0x20);
}

bool is_known(Bytes name) {
  return name == "IHDR" || name == "PLTE" || name == "IDAT" || name == "IEND";
}

// In a palette an opacity for each entry, else one colour.
bool makes_transparent(Bytes data, Bytes picture) {
  const bool palette = number(picture, kSignature + 17, 1, false) == 3;
  return palette ? std::any_of(data.begin(), data.end(), [](char value) { return value != '\xFF'; }) : !data.empty();
}

// Of the filtered rows, each with a byte before it; interlaced in seven smaller pictures.
uint64_t pixel_bytes(Bytes header) {
  constexpr int kChannels[7] = {1, 0, 3, 1, 2, 0, 4};
  constexpr int kPasses[7][4] = {{0, 8, 0, 8}, {4, 8, 0, 8}, {0, 4, 4, 8}, {2, 4, 0, 4},
                                 {0, 2, 2, 4}, {1, 2, 0, 2}, {0, 1, 1, 2}};
  const int64_t width = int64_t(number(header, 0, 4, false)), height = int64_t(number(header, 4, 4, false));
  const uint64_t kind = number(header, 9, 1, false);
  const int64_t bits = int64_t(number(header, 8, 1, false)) * (kind < 7 ? kChannels[kind] : 0);
  auto bytes = [&](int64_t columns, int64_t rows) {
    return columns > 0 && rows > 0 ? uint64_t(rows) * uint64_t(1 + (columns * bits + 7) / 8) : 0;
  };
  if (number(header, 12, 1, false) == 0) return bytes(width, height);
  uint64_t sum = 0;
  for (auto [x, across, y, down] : kPasses) {
    sum += bytes((width - x + across - 1) / across, (height - y + down - 1) / down);
  }
  return sum;
}

void keep_ancillary(const Chunk& chunk, PngFile& png) {
  // A name, the end of it, a byte for the way it is compressed, and the profile.
  const size_t name = chunk.name == "iCCP" ? chunk.data.find('\0') : Bytes::npos;
  if (name != Bytes::npos && name + 2 <= chunk.data.size())
    png.profile = inflated(chunk.data.substr(name + 2), 4 << 20);
  if (chunk.name == "iCCP" && png.profile.empty()) png.profile_lost = true;
  if (chunk.name == "eXIf") png.exif = chunk.data;
  if (chunk.name == "tRNS") png.transparent = makes_transparent(chunk.data, png.picture);
  if (chunk.name == "acTL") png.animated = number(chunk.data, 0, 4, false) > 1;
  if (chunk.name == "cICP") {
    png.primaries = int(number(chunk.data, 0, 1, false));
    png.transfer = int(number(chunk.data, 1, 1, false));
  }
  if (chunk.name == "gAMA") png.gamma = double(number(chunk.data, 0, 4, false)) / 100000;
}

}  // namespace

PngFile read_png(Bytes file) {
  PngFile png;
  png.picture = file.substr(0, kSignature);
  std::vector<Bytes> pixels;
  bool palette = false;
  for (size_t at = kSignature; at < file.size();) {
    const Chunk chunk = chunk_at(file, at);
    if (chunk.whole.empty()) {
      // Behind the pixels an ancillary chunk may be cut, or something else begins.
      if (pixels.empty() || from(file, at + 4, 4) == "IDAT") png.wrong = "it is truncated";
      break;
    }
    at += chunk.whole.size();
    if (!is_critical(chunk)) {
      if (chunk.valid) keep_ancillary(chunk, png);
      if (!chunk.valid && chunk.name == "iCCP") png.profile_lost = true;
      continue;
    }
    if (!is_known(chunk.name)) {
      if (!pixels.empty()) break;
      png.wrong = chunk.name == "CgBI"
                      ? "a PNG in Apple's own form (CgBI); save it as PNG again"
                      : "it has a chunk that is none of PNG's and must not be left out; save it as PNG again";
      return png;
    }
    if (!chunk.valid) png.wrong = "it is damaged: a checksum is wrong";
    if (chunk.name == "IEND") break;
    if (chunk.name == "IDAT") pixels.push_back(chunk.data);
    palette |= chunk.name == "PLTE";
    png.picture += chunk.whole;
  }
  png.picture += kEnd;
  const Bytes header = Bytes(png.picture).substr(kSignature + 8);
  if (number(header, 9, 1, false) == 3 && !palette) png.wrong = "it is damaged: it has no palette";
  png.data = std::move(pixels);
  png.data_bytes = pixel_bytes(header);
  return png;
}

}  // namespace wan
