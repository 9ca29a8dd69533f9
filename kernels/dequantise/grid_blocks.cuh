// ggml's blocks of 256 values whose codes are rows of a grid, eight values at a time: the arithmetic of ggml_grid.cpp.
#pragma once

#include "kernels/dequantise/staged_codes.cuh"

namespace wan::kernels::widening {

/// Seven signs are stored; the eighth makes their number even.
WAN_DEVICE uint32_t eight_signs(uint32_t seven) {
  seven &= 127;
  uint32_t parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | (parity & 1) << 7;
}

/// The 4-bit scale k of those from byte `first` on.
WAN_DEVICE int nibble(const Codes& block, int first, int k) {
  return block.byte(first + k / 2) >> k % 2 * 4 & 15;
}

/// x = scale * row, less than zero where a bit of `signs` is set.
WAN_DEVICE void signed_rows(float scale, const uint32_t (&row)[2], uint32_t signs, float* x) {
  spread(row, 0, x);
  multiply(scale, x);
  WAN_UNROLL
  for (int i = 0; i < 8; ++i) x[i] = simt::float_of_bits(simt::float_bits(x[i]) ^ (signs >> i & 1) << 31);
}

/// Row `row` of a grid of eight values, and two rows of a grid of four.
template <int kRows>
WAN_DEVICE void take_row(const ggml::Grid<kRows, 8>& grid, int row, uint32_t (&to)[2]) {
  const auto both = *reinterpret_cast<const simt::Pack<uint32_t, 2>*>(&grid.words[2 * row]);
  to[0] = both.at[0];
  to[1] = both.at[1];
}
template <int kRows>
WAN_DEVICE void take_rows(const ggml::Grid<kRows, 4>& grid, int first, int second, uint32_t (&to)[2]) {
  to[0] = grid.words[first];
  to[1] = grid.words[second];
}

struct IQ2_XXS {
  static constexpr int kElements = 256, kBytes = 66;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    const int from = 2 + group / 4 * 8, g = group % 4;
    const uint32_t packed = block.word(from + 4);
    uint32_t row[2];
    take_row(ggml::kIq2XxsGrid, block.byte(from + g), row);
    const float scale = product(product(block.half(0), 0.5f + float(packed >> 28)), 0.25f);
    signed_rows(scale, row, eight_signs(packed >> 7 * g), x);
  }
};

struct IQ2_XS {
  static constexpr int kElements = 256, kBytes = 74;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    const int code = block.pair(2 + 2 * group);
    uint32_t row[2];
    take_row(ggml::kIq2XsGrid, code & 511, row);
    const float scale = product(product(block.half(0), 0.5f + float(nibble(block, 66, group / 2))), 0.25f);
    signed_rows(scale, row, eight_signs(uint32_t(code >> 9)), x);
  }
};

struct IQ2_S {
  static constexpr int kElements = 256, kBytes = 82;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    const int code = block.byte(2 + group) | (block.byte(66 + group / 4) >> group % 4 * 2 & 3) << 8;
    uint32_t row[2];
    take_row(ggml::kIq2SGrid, code, row);
    const float scale = product(product(block.half(0), 0.5f + float(nibble(block, 74, group / 2))), 0.25f);
    signed_rows(scale, row, uint32_t(block.byte(34 + group)), x);
  }
};

struct IQ3_XXS {
  static constexpr int kElements = 256, kBytes = 98;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    const uint32_t packed = block.word(66 + group / 4 * 4);
    uint32_t rows[2];
    take_rows(ggml::kIq3XxsGrid, block.byte(2 + 2 * group), block.byte(3 + 2 * group), rows);
    const float scale = product(product(block.half(0), 0.5f + float(packed >> 28)), 0.5f);
    signed_rows(scale, rows, eight_signs(packed >> 7 * (group % 4)), x);
  }
};

struct IQ3_S {
  static constexpr int kElements = 256, kBytes = 110;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    const int high = block.byte(66 + group / 4) >> group % 4 * 2;
    const int first = block.byte(2 + 2 * group) | (high & 1) << 8;
    const int second = block.byte(3 + 2 * group) | (high & 2) << 7;
    uint32_t rows[2];
    take_rows(ggml::kIq3SGrid, first, second, rows);
    const float scale = product(block.half(0), float(1 + 2 * nibble(block, 106, group / 4)));
    signed_rows(scale, rows, uint32_t(block.byte(74 + group)), x);
  }
};

/// x = scale * (row + shift), where a row is made of -1, 0 and 1.
WAN_DEVICE void shifted_row(float scale, int code, float shift, float* x) {
  uint32_t row[2];
  take_row(ggml::kIq1Grid, code, row);
  spread_signed(row, x);
  WAN_UNROLL
  for (int i = 0; i < 8; ++i) x[i] = product(scale, x[i] + shift);
}

struct IQ1_S {
  static constexpr int kElements = 256, kBytes = 50;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    const int high = block.pair(34 + group / 4 * 2);
    const float scale = product(block.half(0), float(2 * (high >> 12 & 7) + 1));
    const int code = block.byte(2 + group) | (high >> 3 * (group % 4) & 7) << 8;
    shifted_row(scale, code, high & 0x8000 ? -0.125f : 0.125f, x);
  }
};

struct IQ1_M {
  static constexpr int kElements = 256, kBytes = 56;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    __half_raw bits;  // a nibble of the scale above each four of the small ones
    bits.x = 0;
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) bits.x = static_cast<unsigned short>(bits.x | block.byte(49 + 2 * i) >> 4 << 4 * i);
    const int scales = block.pair(48 + group / 8 * 2), high = block.byte(32 + group / 2) >> group % 2 * 4;
    const float scale = product(__half2float(__half(bits)), float(2 * (scales >> 3 * (group / 2 % 4) & 7) + 1));
    shifted_row(scale, block.byte(group) | (high & 7) << 8, high & 8 ? -0.125f : 0.125f, x);
  }
};

}  // namespace wan::kernels::widening
