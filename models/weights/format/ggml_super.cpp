// Blocks of 256 elements whose sub-blocks have scales of their own, in codes. Layouts and arithmetic are those of
// ggml-quants.c; products are rounded before they are added.
#include "models/weights/format/ggml_decoders.h"

#ifdef __GNUC__
#pragma GCC optimize("fp-contract=off")
#endif

namespace wan::ggml {

namespace {

/// Scales and minima of Q4_K and Q5_K: 6 bits each, in 12 bytes.
struct ScalesAndMinima {
  explicit ScalesAndMinima(const uint8_t* bytes) {
    for (int j = 0; j < 4; ++j) {
      scale[j] = bytes[j] & 63;
      minimum[j] = bytes[4 + j] & 63;
      scale[4 + j] = uint8_t((bytes[8 + j] & 15) | (bytes[j] >> 2 & 0x30));
      minimum[4 + j] = uint8_t(bytes[8 + j] >> 4 | (bytes[4 + j] >> 2 & 0x30));
    }
  }
  uint8_t scale[8], minimum[8];
};

}  // namespace

void Q2_K::widen(const uint8_t* block, float* values) {
  const uint8_t *scales = block, *codes = block + 16;
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  for (int k = 0; k < 16; ++k, values += 16) {
    const float scale = d * float(scales[k] & 15), minimum = dmin * float(scales[k] >> 4);
    const uint8_t* from = codes + 32 * (k / 8) + 16 * (k % 2);
    const int shift = k % 8 / 2 * 2;
    for (int l = 0; l < 16; ++l) values[l] = scale * float(from[l] >> shift & 3) - minimum;
  }
}

void Q3_K::widen(const uint8_t* block, float* values) {
  const uint8_t *high = block, *codes = block + 32, *scales = block + 96;
  const float d = half_at(block + 108);
  for (int k = 0; k < 16; ++k, values += 16) {
    const int low = k < 8 ? scales[k] & 15 : scales[k - 8] >> 4;
    const int code = low | (scales[8 + k % 4] >> (k / 4 * 2) & 3) << 4;
    const float scale = d * float(code - 32);
    const uint8_t *from = codes + 32 * (k / 8) + 16 * (k % 2), *bits = high + 16 * (k % 2);
    const int shift = k % 8 / 2 * 2, bit = k / 2;
    for (int l = 0; l < 16; ++l) values[l] = scale * float((from[l] >> shift & 3) - ((bits[l] >> bit & 1) ^ 1) * 4);
  }
}

void Q4_K::widen(const uint8_t* block, float* values) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const ScalesAndMinima of(block + 4);
  for (int j = 0; j < 8; ++j, values += 32) {
    const float scale = d * float(of.scale[j]), minimum = dmin * float(of.minimum[j]);
    const uint8_t* from = block + 16 + 32 * (j / 2);
    const int shift = j % 2 * 4;
    for (int l = 0; l < 32; ++l) values[l] = scale * float(from[l] >> shift & 15) - minimum;
  }
}

void Q5_K::widen(const uint8_t* block, float* values) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const ScalesAndMinima of(block + 4);
  const uint8_t* high = block + 16;
  for (int j = 0; j < 8; ++j, values += 32) {
    const float scale = d * float(of.scale[j]), minimum = dmin * float(of.minimum[j]);
    const uint8_t* from = block + 48 + 32 * (j / 2);
    const int shift = j % 2 * 4;
    for (int l = 0; l < 32; ++l) values[l] = scale * float((from[l] >> shift & 15) | (high[l] >> j & 1) << 4) - minimum;
  }
}

void Q6_K::widen(const uint8_t* block, float* values) {
  const float d = half_at(block + 208);
  for (int k = 0; k < 16; ++k, values += 16) {
    const float scale = d * float(int8_t(block[192 + k]));
    const int half = k / 8, quarter = k % 8 / 2, odd = k % 2 * 16;  // of 128; of 32; of 16
    const uint8_t* low = block + 64 * half + 32 * (quarter % 2) + odd;
    const uint8_t* high = block + 128 + 32 * half + odd;
    const int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
    for (int l = 0; l < 16; ++l)
      values[l] = scale * float(((low[l] >> low_shift & 15) | (high[l] >> high_shift & 3) << 4) - 32);
  }
}

void IQ4_XS::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  const int high = at<uint16_t>(block + 2);
  for (int j = 0; j < 8; ++j, values += 32) {
    const int scale = (block[4 + j / 2] >> (j % 2 * 4) & 15) | (high >> 2 * j & 3) << 4;
    const float d_j = d * float(scale - 32);
    const uint8_t* from = block + 8 + 16 * j;
    for (int l = 0; l < 16; ++l) {
      values[l] = d_j * float(kNonlinear[from[l] & 15]);
      values[l + 16] = d_j * float(kNonlinear[from[l] >> 4]);
    }
  }
}

}  // namespace wan::ggml
