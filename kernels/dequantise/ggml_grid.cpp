// Blocks of 256 elements whose codes are rows of a grid, with signs beside them. Layouts and arithmetic are those of
// ggml-quants.c.
#include <bit>

#include "kernels/dequantise/ggml_decoders.h"
#include "kernels/dequantise/ggml_grids.h"

namespace wan::kernels::ggml {

namespace {

/// Seven signs are stored; the eighth makes their number even.
int eight_signs(uint32_t seven) {
  return int(seven & 127) | (std::popcount(seven & 127) & 1) << 7;
}

template <int kCount>
inline void signed_row(float scale, const int8_t* row, int signs, float* values) {
  for (int l = 0; l < kCount; ++l) {
    const auto bits = std::bit_cast<uint32_t>(scale * float(row[l]));
    values[l] = std::bit_cast<float>(bits ^ uint32_t(signs) >> l << 31);
  }
}

/// The 4-bit scale of sub-block k of 16.
int nibble(const uint8_t* scales, int k) {
  return scales[k / 2] >> (k % 2 * 4) & 15;
}

inline void shifted_row(float scale, const int8_t* row, float shift, float* values) {
  for (int l = 0; l < 8; ++l) values[l] = scale * (float(row[l]) + shift);
}

}  // namespace

void IQ2_XXS::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int j = 0; j < 8; ++j) {
    const uint8_t* from = block + 2 + 8 * j;
    const auto packed = at<uint32_t>(from + 4);
    const float scale = d * (0.5f + float(packed >> 28)) * 0.25f;
    for (int g = 0; g < 4; ++g, values += 8)
      signed_row<8>(scale, kIq2XxsGrid[from[g]], eight_signs(packed >> 7 * g), values);
  }
}

void IQ2_XS::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int g = 0; g < 32; ++g, values += 8) {
    const int code = at<uint16_t>(block + 2 + 2 * g);
    const float scale = d * (0.5f + float(nibble(block + 66, g / 2))) * 0.25f;
    signed_row<8>(scale, kIq2XsGrid[code & 511], eight_signs(uint32_t(code >> 9)), values);
  }
}

void IQ2_S::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int g = 0; g < 32; ++g, values += 8) {
    const int code = block[2 + g] | (block[66 + g / 4] >> (g % 4 * 2) & 3) << 8;
    const float scale = d * (0.5f + float(nibble(block + 74, g / 2))) * 0.25f;
    signed_row<8>(scale, kIq2SGrid[code], block[34 + g], values);
  }
}

void IQ3_XXS::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int j = 0; j < 8; ++j) {
    const auto packed = at<uint32_t>(block + 66 + 4 * j);
    const float scale = d * (0.5f + float(packed >> 28)) * 0.5f;
    for (int g = 0; g < 8; ++g, values += 4) {
      const int signs = eight_signs(packed >> 7 * (g / 2)) >> (g % 2 * 4);
      signed_row<4>(scale, kIq3XxsGrid[block[2 + 8 * j + g]], signs, values);
    }
  }
}

void IQ3_S::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int g = 0; g < 64; ++g, values += 4) {
    const int code = block[2 + g] | (block[66 + g / 8] >> g % 8 & 1) << 8;
    const float scale = d * float(1 + 2 * nibble(block + 106, g / 8));
    signed_row<4>(scale, kIq3SGrid[code], block[74 + g / 2] >> (g % 2 * 4), values);
  }
}

void IQ1_S::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int g = 0; g < 32; ++g, values += 8) {
    const int high = at<uint16_t>(block + 34 + 2 * (g / 4));
    const float scale = d * float(2 * (high >> 12 & 7) + 1);
    const int code = block[2 + g] | (high >> 3 * (g % 4) & 7) << 8;
    shifted_row(scale, kIq1Grid[code], high & 0x8000 ? -0.125f : 0.125f, values);
  }
}

void IQ1_M::widen(const uint8_t* block, float* values) {
  uint16_t bits = 0;  // the scale, a nibble of it above each four of the small ones
  for (int i = 0; i < 4; ++i) bits = uint16_t(bits | (at<uint16_t>(block + 48 + 2 * i) >> 12) << 4 * i);
  const float d = static_cast<float>(c10::Half(bits, c10::Half::from_bits()));
  for (int g = 0; g < 32; ++g, values += 8) {
    const int scales = at<uint16_t>(block + 48 + 2 * (g / 8));
    const float scale = d * float(2 * (scales >> 3 * (g / 2 % 4) & 7) + 1);
    const int high = block[32 + g / 2] >> (g % 2 * 4);
    shifted_row(scale, kIq1Grid[block[g] | (high & 7) << 8], high & 8 ? -0.125f : 0.125f, values);
  }
}

WAN_GGML_LOOP(IQ2_XXS)
WAN_GGML_LOOP(IQ2_XS)
WAN_GGML_LOOP(IQ2_S)
WAN_GGML_LOOP(IQ3_XXS)
WAN_GGML_LOOP(IQ3_S)
WAN_GGML_LOOP(IQ1_S)
WAN_GGML_LOOP(IQ1_M)

}  // namespace wan::kernels::ggml
