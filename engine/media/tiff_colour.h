// The samples of a TIFF file to RGB.
#pragma once

#include <cstdint>
#include <vector>

namespace wan {

/// `count` samples of `bits` (1 to 16) each; of 16 bits in this machine's order, else the highest first.
/// The i-th goes to out[i * step].
void unpack_samples(const uint8_t* packed, int64_t count, int bits, uint16_t* out, int64_t step);

struct TiffColour {
  enum class Kind { Grey, InvertedGrey, Rgb, Palette, Cmyk };
  Kind kind = Kind::Rgb;
  int bits = 8;
  bool alpha = false;                 // the sample behind the colours says how opaque they are
  bool premultiplied = false;         // ... and they are multiplied with it
  std::vector<uint8_t> palette = {};  // r, g, b of each entry

  int samples() const { return (kind == Kind::Cmyk ? 4 : kind == Kind::Rgb ? 3 : 1) + (alpha ? 1 : 0); }
  /// `count` pixels of samples() samples each to r, g, b. Whether one of them is transparent.
  bool to_rgb(const uint16_t* samples, int64_t count, uint8_t* rgb) const;
};

}  // namespace wan
