#include "engine/media/tiff_colour.h"

#include <algorithm>
#include <cstring>

namespace wan {
namespace {

// a * b / 255, rounded.
int product(int a, int b) {
  const int value = a * b + 128;
  return (value + (value >> 8)) >> 8;
}

}  // namespace

void unpack_samples(const uint8_t* packed, int64_t count, int bits, uint16_t* out, int64_t step) {
  if (bits == 8) {
    for (int64_t i = 0; i < count; ++i) out[i * step] = packed[i];
  } else if (bits == 16) {
    for (int64_t i = 0; i < count; ++i) std::memcpy(out + i * step, packed + 2 * i, 2);
  } else {
    uint32_t held = 0;
    int have = 0;
    for (int64_t i = 0; i < count; ++i) {
      for (; have < bits; have += 8) held = held << 8 | *packed++;
      have -= bits;
      out[i * step] = uint16_t(held >> have & ((1u << bits) - 1));
    }
  }
}

bool TiffColour::to_rgb(const uint16_t* samples, int64_t count, uint8_t* rgb) const {
  const int most = (1 << bits) - 1, step = this->samples();
  // Fewer than 8 bits are spread, of more the upper 8 are taken.
  auto byte = [&](uint16_t value) { return bits > 8 ? value >> (bits - 8) : (value * 255 + most / 2) / most; };
  bool transparent = false;
  for (int64_t i = 0; i < count; ++i, samples += step, rgb += 3) {
    switch (kind) {
      case Kind::Grey:
        rgb[0] = rgb[1] = rgb[2] = uint8_t(byte(samples[0]));
        break;
      case Kind::InvertedGrey:
        rgb[0] = rgb[1] = rgb[2] = uint8_t(255 - byte(samples[0]));
        break;
      case Kind::Palette:
        std::copy_n(palette.data() + 3 * size_t(samples[0]), 3, rgb);
        break;
      case Kind::Rgb:
        for (int c = 0; c < 3; ++c) rgb[c] = uint8_t(byte(samples[c]));
        break;
      case Kind::Cmyk:
        for (int c = 0; c < 3; ++c) rgb[c] = uint8_t(product(255 - byte(samples[c]), 255 - byte(samples[3])));
        break;
    }
    if (!alpha) continue;
    const int opacity = byte(samples[step - 1]);
    transparent |= opacity < 255;
    for (int c = 0; premultiplied && c < 3; ++c) {
      rgb[c] = uint8_t(opacity == 0 ? 0 : std::min(255, rgb[c] * 255 / opacity));
    }
  }
  return transparent;
}

}  // namespace wan
