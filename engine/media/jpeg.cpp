#include "engine/media/jpeg.h"

namespace wan {
namespace {

constexpr int kStart = 0xD8, kEnd = 0xD9, kScan = 0xDA;
constexpr Bytes kExif("Exif\0\0", 6), kProfile("ICC_PROFILE\0\1", 13);

bool stands_alone(int marker) {
  return marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= 0xD7);  // a stuffed FF, TEM, restarts
}

bool is_frame(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

// The next marker from `at` on, which is moved behind it; -1 at the end of the file.
int next_marker(Bytes file, size_t& at) {
  at = file.find('\xFF', at);
  while (at < file.size() && file[at] == '\xFF') ++at;  // any number of fill bytes
  return at < file.size() ? uint8_t(file[at++]) : -1;
}

void keep(int marker, Bytes segment, JpegFile& jpeg) {
  if (marker == 0xE1 && jpeg.exif.empty() && starts_with(segment, kExif)) jpeg.exif = from(segment, kExif.size());
  if (marker == 0xE2 && starts_with(segment, kProfile)) jpeg.profile = from(segment, kProfile.size() + 1);
  if (is_frame(marker) && jpeg.frame == 0) {
    jpeg.frame = marker;
    jpeg.bits = int(number(segment, 0, 1, false));
    jpeg.components = int(number(segment, 5, 1, false));
  }
}

}  // namespace

JpegFile read_jpeg(Bytes file) {
  JpegFile jpeg;
  bool scanned = false;
  for (size_t at = 2;;) {
    const int marker = next_marker(file, at);
    if (stands_alone(marker)) continue;
    if (marker == kEnd && scanned) {
      jpeg.picture = file.substr(0, at);
      return jpeg;
    }
    // The end of the file, another picture, or a reserved marker: the end of this one is lost.
    if (marker < 0xC0 || marker == kStart || marker == kEnd) return jpeg;
    const size_t length = number(file, at, 2, false);
    if (length < 2 || length > file.size() - at) return jpeg;
    keep(marker, file.substr(at + 2, length - 2), jpeg);
    scanned |= marker == kScan;
    at += length;
  }
}

}  // namespace wan
