#include "engine/media/orientation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string_view>

namespace wan {
namespace {

using Bytes = std::string_view;  // a view whose substr checks its start, and whose size every read below is held to

uint64_t number(Bytes bytes, size_t at, size_t width, bool little_endian) {
  uint64_t value = 0;
  if (width > bytes.size() || at > bytes.size() - width) return 0;
  for (size_t i = 0; i < width; ++i) {
    value = value << 8 | uint8_t(bytes[little_endian ? at + width - 1 - i : at + i]);
  }
  return value;
}

bool starts_with(Bytes bytes, Bytes prefix) {
  return bytes.substr(0, prefix.size()) == prefix;
}

Bytes from(Bytes bytes, size_t at) {
  return at < bytes.size() ? bytes.substr(at) : Bytes();
}

// A TIFF header, then its first directory: a count and entries of 12 bytes (tag, type, count, value).
int tiff_orientation(Bytes tiff) {
  bool little_endian = starts_with(tiff, "II");
  if (!little_endian && !starts_with(tiff, "MM")) return 1;
  if (number(tiff, 2, 2, little_endian) != 42) return 1;
  Bytes directory = from(tiff, size_t(number(tiff, 4, 4, little_endian)));
  uint64_t entries = number(directory, 0, 2, little_endian);
  for (uint64_t i = 0; i < entries; ++i) {
    Bytes entry = from(directory, 2 + 12 * i);
    if (entry.size() < 12) break;
    if (number(entry, 0, 2, little_endian) != 0x0112) continue;
    uint64_t value = number(entry, 8, 2, little_endian);
    return value >= 1 && value <= 8 ? int(value) : 1;
  }
  return 1;
}

// Segments FF xx length(2); the pixels begin at FF DA, and Exif lies before them.
Bytes exif_of_jpeg(Bytes file) {
  constexpr Bytes kMark("Exif\0\0", 6);
  for (size_t at = 2; at + 4 <= file.size() && uint8_t(file[at]) == 0xFF && uint8_t(file[at + 1]) != 0xDA;) {
    size_t length = number(file, at + 2, 2, false);
    Bytes segment = from(file, at + 4);
    if (uint8_t(file[at + 1]) == 0xE1 && starts_with(segment, kMark)) return from(segment, kMark.size());
    at += 2 + std::max<size_t>(length, 2);
  }
  return {};
}

// Chunks of PNG: length, name, data, checksum. Chunks of RIFF: name, length, data, padded to even.
Bytes chunk_named(Bytes file, size_t at, Bytes name, bool png) {
  while (at + 8 <= file.size()) {
    size_t length = number(file, at + (png ? 0 : 4), 4, !png);
    if (file.substr(at + (png ? 4 : 0), 4) == name) return from(file, at + 8).substr(0, length);
    at += 8 + length + (png ? 4 : length % 2);
  }
  return {};
}

}  // namespace

int exif_orientation(const uint8_t* data, size_t size) {
  Bytes file(reinterpret_cast<const char*>(data), size);
  if (starts_with(file, "\xFF\xD8")) return tiff_orientation(exif_of_jpeg(file));
  if (starts_with(file, "\x89PNG")) return tiff_orientation(chunk_named(file, 8, "eXIf", true));
  if (starts_with(file, "RIFF")) {
    Bytes exif = chunk_named(file, 12, "EXIF", false);
    return tiff_orientation(starts_with(exif, "Exif") ? from(exif, 6) : exif);  // some writers keep JPEG's mark
  }
  return tiff_orientation(file);
}

int matrix_orientation(const int32_t* matrix) {
  if (!matrix) return 1;
  // Row vectors: x' = a x + c y, y' = b x + d y.
  int32_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
  if (b == 0 && c == 0 && a != 0 && d != 0) return a > 0 ? (d > 0 ? 1 : 4) : (d > 0 ? 2 : 3);
  if (a == 0 && d == 0 && b != 0 && c != 0) return b > 0 ? (c > 0 ? 5 : 6) : (c > 0 ? 8 : 7);
  return 1;
}

at::Tensor upright(const at::Tensor& rgb, int orientation) {
  switch (orientation) {
    case 2:
      return rgb.flip({1});
    case 3:
      return rgb.flip({0, 1});
    case 4:
      return rgb.flip({0});
    case 5:
      return rgb.transpose(0, 1).contiguous();
    case 6:
      return rgb.transpose(0, 1).flip({1}).contiguous();
    case 7:
      return rgb.transpose(0, 1).flip({0, 1}).contiguous();
    case 8:
      return rgb.transpose(0, 1).flip({0}).contiguous();
    default:
      return rgb.contiguous();
  }
}

}  // namespace wan
