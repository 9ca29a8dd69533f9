// ggml's blocks of 256 values whose sub-blocks have scales of their own, eight values at a time: the arithmetic of
// ggml_super.cpp.
#pragma once

#include "kernels/dequantise/staged_codes.cuh"

namespace wan::kernels::widening {

/// Two bits of each of eight values: a half of 128 is 32 bytes from `first` on, from the lowest bits of all to the
/// highest.
WAN_DEVICE void two_bits(const Codes& block, int first, int group, uint32_t (&codes)[2]) {
  block.eight(first + group / 16 * 32 + group % 4 * 8, group / 4 % 4 * 2, 2, codes);
}

/// codes |= what `more` holds, moved up by `bits`.
WAN_DEVICE void put_above(uint32_t (&codes)[2], const uint32_t (&more)[2], int bits) {
  WAN_UNROLL
  for (int k = 0; k < 2; ++k) codes[k] |= more[k] << bits;
}

/// Scale and minimum of sub-block j of 8: 6 bits each, in 12 bytes.
struct ScaleAndMinimum {
  WAN_DEVICE ScaleAndMinimum(const Codes& block, int first, int j) {
    const int low = block.byte(first + j % 4), high = block.byte(first + 4 + j % 4);
    const int both = j < 4 ? 0 : block.byte(first + 8 + j % 4);
    scale = float(j < 4 ? low & 63 : (both & 15) | (low >> 2 & 0x30));
    minimum = float(j < 4 ? high & 63 : both >> 4 | (high >> 2 & 0x30));
  }
  float scale, minimum;
};

struct Q2_K {
  static constexpr int kElements = 256, kBytes = 84;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    two_bits(block, 16, group, codes);
    spread(codes, 0, x);
    const int both = block.byte(group / 2);
    multiply_add(product(block.half(80), float(both & 15)), -product(block.half(82), float(both >> 4)), x);
  }
};

struct Q3_K {
  static constexpr int kElements = 256, kBytes = 110;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2], high[2];
    two_bits(block, 32, group, codes);
    block.eight(group % 4 * 8, group / 4, 1, high);
    put_above(codes, high, 2);
    spread(codes, 4, x);
    const int k = group / 2, four = block.byte(96 + k % 8) >> (k / 8 * 4) & 15;
    const int scale = four | (block.byte(104 + k % 4) >> (k / 4 * 2) & 3) << 4;
    multiply(product(block.half(108), float(scale - 32)), x);
  }
};

struct Q4_K {
  static constexpr int kElements = 256, kBytes = 144;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    block.eight(16 + group / 8 * 32 + group % 4 * 8, group / 4 % 2 * 4, 4, codes);
    spread(codes, 0, x);
    const ScaleAndMinimum of(block, 4, group / 4);
    multiply_add(product(block.half(0), of.scale), -product(block.half(2), of.minimum), x);
  }
};

struct Q5_K {
  static constexpr int kElements = 256, kBytes = 176;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2], high[2];
    block.eight(48 + group / 8 * 32 + group % 4 * 8, group / 4 % 2 * 4, 4, codes);
    block.eight(16 + group % 4 * 8, group / 4, 1, high);
    put_above(codes, high, 4);
    spread(codes, 0, x);
    const ScaleAndMinimum of(block, 4, group / 4);
    multiply_add(product(block.half(0), of.scale), -product(block.half(2), of.minimum), x);
  }
};

struct Q6_K {
  static constexpr int kElements = 256, kBytes = 210;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2], high[2];
    block.eight(group / 16 * 64 + group % 8 * 8, group / 8 % 2 * 4, 4, codes);
    two_bits(block, 128, group, high);
    put_above(codes, high, 4);
    spread(codes, 32, x);
    multiply(product(block.half(208), float(int8_t(block.byte(192 + group / 2)))), x);
  }
};

struct IQ4_XS {
  static constexpr int kElements = 256, kBytes = 136;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    const int j = group / 4;
    uint32_t codes[2];
    block.eight(8 + 16 * j + group % 2 * 8, group / 2 % 2 * 4, 4, codes);
    look_up(nonlinear(), codes);
    spread_signed(codes, x);
    const int scale = (block.byte(4 + j / 2) >> j % 2 * 4 & 15) | (block.pair(2) >> 2 * j & 3) << 4;
    multiply(product(block.half(0), float(scale - 32)), x);
  }
};

}  // namespace wan::kernels::widening
