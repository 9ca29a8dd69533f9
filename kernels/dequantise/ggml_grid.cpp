// Blocks of 256 elements whose codes are rows of a grid, with signs beside them. Layouts and arithmetic are those of
// ggml-quants.c.
#include <array>
#include <bit>

#include "kernels/dequantise/ggml_decoders.h"
#include "kernels/dequantise/ggml_grids.h"

#ifdef __GNUC__  // loops as vectors; no fused products, which round once less
#pragma GCC optimize("O3", "fp-contract=off")
#endif

namespace wan::kernels::ggml {

namespace {

/// A grid as it is looked up: kRows rows of kWidth values.
template <int kRows, int kWidth>
class Grid {
 public:
  /// Values of two bits, or of four where there are more than four of them, as indices into `meanings`.
  Grid(const char* hex, std::initializer_list<int8_t> meanings) {
    const int bits = meanings.size() > 4 ? 4 : 2, each = 8 / bits;
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (int i = 0; i < kRows * kWidth; ++i) {
      const char* at = hex + 2 * (i / each);
      const int byte = digit(at[0]) << 4 | digit(at[1]);
      values_[size_t(i)] = meanings.begin()[byte >> (i % each * bits) & ((1 << bits) - 1)];
    }
  }
  const int8_t* operator[](int row) const { return values_.data() + row * kWidth; }

 private:
  std::array<int8_t, size_t(kRows) * kWidth> values_;
};

const Grid<256, 8>& iq2_xxs() {
  static const Grid<256, 8> grid(kIq2XxsGrid, {0x08, 0x19, 0x2b});
  return grid;
}
const Grid<512, 8>& iq2_xs() {
  static const Grid<512, 8> grid(kIq2XsGrid, {0x08, 0x19, 0x2b});
  return grid;
}
const Grid<1024, 8>& iq2_s() {
  static const Grid<1024, 8> grid(kIq2SGrid, {0x08, 0x19, 0x2b});
  return grid;
}
const Grid<256, 4>& iq3_xxs() {
  static const Grid<256, 4> grid(kIq3XxsGrid, {0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3e});
  return grid;
}
const Grid<512, 4>& iq3_s() {
  static const Grid<512, 4> grid(kIq3SGrid, {0x01, 0x03, 0x05, 0x07, 0x09, 0x0b, 0x0d, 0x0f});
  return grid;
}
const Grid<2048, 8>& iq1() {
  static const Grid<2048, 8> grid(kIq1SGrid, {-1, 0, 1});
  return grid;
}

/// Seven signs are stored; the eighth makes their number even.
int eight_signs(uint32_t seven) {
  return int(seven & 127) | (std::popcount(seven & 127) & 1) << 7;
}

template <int kCount>
inline void signed_row(float scale, const int8_t* row, int signs, float* values) {
  for (int l = 0; l < kCount; ++l) values[l] = scale * float(row[l]) * (signs >> l & 1 ? -1.f : 1.f);
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
      signed_row<8>(scale, iq2_xxs()[from[g]], eight_signs(packed >> 7 * g), values);
  }
}

void IQ2_XS::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int g = 0; g < 32; ++g, values += 8) {
    const int code = at<uint16_t>(block + 2 + 2 * g);
    const float scale = d * (0.5f + float(nibble(block + 66, g / 2))) * 0.25f;
    signed_row<8>(scale, iq2_xs()[code & 511], eight_signs(uint32_t(code >> 9)), values);
  }
}

void IQ2_S::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int g = 0; g < 32; ++g, values += 8) {
    const int code = block[2 + g] | (block[66 + g / 4] >> (g % 4 * 2) & 3) << 8;
    const float scale = d * (0.5f + float(nibble(block + 74, g / 2))) * 0.25f;
    signed_row<8>(scale, iq2_s()[code], block[34 + g], values);
  }
}

void IQ3_XXS::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int j = 0; j < 8; ++j) {
    const auto packed = at<uint32_t>(block + 66 + 4 * j);
    const float scale = d * (0.5f + float(packed >> 28)) * 0.5f;
    for (int g = 0; g < 8; ++g, values += 4) {
      const int signs = eight_signs(packed >> 7 * (g / 2)) >> (g % 2 * 4);
      signed_row<4>(scale, iq3_xxs()[block[2 + 8 * j + g]], signs, values);
    }
  }
}

void IQ3_S::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int g = 0; g < 64; ++g, values += 4) {
    const int code = block[2 + g] | (block[66 + g / 8] >> g % 8 & 1) << 8;
    const float scale = d * float(1 + 2 * nibble(block + 106, g / 8));
    signed_row<4>(scale, iq3_s()[code], block[74 + g / 2] >> (g % 2 * 4), values);
  }
}

void IQ1_S::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int g = 0; g < 32; ++g, values += 8) {
    const int high = at<uint16_t>(block + 34 + 2 * (g / 4));
    const float scale = d * float(2 * (high >> 12 & 7) + 1);
    const int code = block[2 + g] | (high >> 3 * (g % 4) & 7) << 8;
    shifted_row(scale, iq1()[code], high & 0x8000 ? -0.125f : 0.125f, values);
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
    shifted_row(scale, iq1()[block[g] | (high & 7) << 8], high & 8 ? -0.125f : 0.125f, values);
  }
}

}  // namespace wan::kernels::ggml
