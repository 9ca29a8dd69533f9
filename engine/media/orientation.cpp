#include "engine/media/orientation.h"

#include <ATen/ATen.h>

namespace wan {
// A TIFF header, then its first directory: a count and entries of 12 bytes (tag, type, count, value).
int exif_orientation(Bytes tiff) {
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
