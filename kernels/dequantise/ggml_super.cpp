// Blocks of 256 elements whose sub-blocks have scales of their own, in codes. Layouts and arithmetic are those of
// ggml-quants.c; products are rounded before they are added.
#include "kernels/dequantise/ggml_decoders.h"

namespace wan::kernels::ggml {

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

/// Two bits of each of 256 elements: a half of 128 is 32 bytes, from the lowest bits of all to the highest.
struct TwoBits {
  explicit TwoBits(const uint8_t* bytes) {
    for (int half = 0; half < 2; ++half)
      for (int l = 0; l < 32; ++l) {
        const uint8_t byte = bytes[32 * half + l];
        int8_t* to = codes + 128 * half + l;
        to[0] = int8_t(byte & 3);
        to[32] = int8_t(byte >> 2 & 3);
        to[64] = int8_t(byte >> 4 & 3);
        to[96] = int8_t(byte >> 6);
      }
  }
  int8_t codes[256];
};

}  // namespace

void Q2_K::widen(const uint8_t* block, float* values) {
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  const TwoBits low(block + 16);
  for (int k = 0; k < 16; ++k) {
    const float scale = d * float(block[k] & 15), minimum = dmin * float(block[k] >> 4);
    for (int i = 16 * k; i < 16 * k + 16; ++i) values[i] = scale * float(low.codes[i]) - minimum;
  }
}

void Q3_K::widen(const uint8_t* block, float* values) {
  const uint8_t *high = block, *scales = block + 96;
  const float d = half_at(block + 108);
  TwoBits low(block + 32);
  for (int bit = 0; bit < 8; ++bit)  // a bit that is not set takes 4 away
    for (int l = 0; l < 32; ++l)
      low.codes[32 * bit + l] = int8_t(low.codes[32 * bit + l] + (high[l] >> bit & 1) * 4 - 4);
  for (int k = 0; k < 16; ++k) {
    const int four = k < 8 ? scales[k] & 15 : scales[k - 8] >> 4;
    const float scale = d * float((four | (scales[8 + k % 4] >> (k / 4 * 2) & 3) << 4) - 32);
    for (int i = 16 * k; i < 16 * k + 16; ++i) values[i] = scale * float(low.codes[i]);
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
  TwoBits all(block + 128);
  for (int half = 0; half < 2; ++half)
    for (int l = 0; l < 64; ++l) {
      int8_t* code = all.codes + 128 * half + l;
      const uint8_t low = block[64 * half + l];
      code[0] = int8_t((code[0] << 4 | (low & 15)) - 32);
      code[64] = int8_t((code[64] << 4 | low >> 4) - 32);
    }
  for (int k = 0; k < 16; ++k) {
    const float scale = d * float(int8_t(block[192 + k]));
    for (int i = 16 * k; i < 16 * k + 16; ++i) values[i] = scale * float(all.codes[i]);
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

WAN_GGML_LOOP(Q2_K)
WAN_GGML_LOOP(Q3_K)
WAN_GGML_LOOP(Q4_K)
WAN_GGML_LOOP(Q5_K)
WAN_GGML_LOOP(Q6_K)
WAN_GGML_LOOP(IQ4_XS)

}  // namespace wan::kernels::ggml
