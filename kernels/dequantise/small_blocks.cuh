// ggml's blocks with one scale, eight values at a time: the arithmetic of ggml_small.cpp.
#pragma once

#include "kernels/dequantise/staged_codes.cuh"

namespace wan::kernels::widening {

/// The eight codes of a group of 32 values, of which 16 bytes from `first` on hold the first half in their low nibbles
/// and the second half in the high ones.
WAN_DEVICE void halves(const Codes& block, int first, int group, uint32_t (&codes)[2]) {
  block.eight(first + group % 2 * 8, group / 2 * 4, 4, codes);
}

/// The same with the fifth bit of each code, from the 32 bits at `fifth`.
WAN_DEVICE void fifth_halves(const Codes& block, int first, int fifth, int group, uint32_t (&codes)[2]) {
  halves(block, first, group, codes);
  const uint32_t bits = uint32_t(block.byte(fifth + group));
  WAN_UNROLL
  for (int i = 0; i < 8; ++i) codes[i / 4] |= (bits >> i & 1) << (i % 4 * 8 + 4);
}

struct Q4_0 {
  static constexpr int kElements = 32, kBytes = 18;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    halves(block, 2, group, codes);
    spread(codes, 8, x);
    multiply(block.half(0), x);
  }
};

struct Q4_1 {
  static constexpr int kElements = 32, kBytes = 20;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    halves(block, 4, group, codes);
    spread(codes, 0, x);
    multiply_add(block.half(0), block.half(2), x);
  }
};

struct Q5_0 {
  static constexpr int kElements = 32, kBytes = 22;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    fifth_halves(block, 6, 2, group, codes);
    spread(codes, 16, x);
    multiply(block.half(0), x);
  }
};

struct Q5_1 {
  static constexpr int kElements = 32, kBytes = 24;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    fifth_halves(block, 8, 4, group, codes);
    spread(codes, 0, x);
    multiply_add(block.half(0), block.half(2), x);
  }
};

struct Q8_0 {
  static constexpr int kElements = 32, kBytes = 34;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    block.words(2 + 8 * group, codes);
    spread_signed(codes, x);
    multiply(block.half(0), x);
  }
};

struct IQ4_NL {
  static constexpr int kElements = 32, kBytes = 18;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    halves(block, 2, group, codes);
    look_up(nonlinear(), codes);
    spread_signed(codes, x);
    multiply(block.half(0), x);
  }
};

struct MXFP4 {
  static constexpr int kElements = 32, kBytes = 17;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    halves(block, 1, group, codes);
    look_up(twice_e2m1(), codes);
    spread_signed(codes, x);
    const unsigned exponent = unsigned(block.byte(0));  // half of 2^(exponent - 127)
    multiply(simt::float_of_bits(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23), x);
  }
};

struct NVFP4 {
  static constexpr int kElements = 64, kBytes = 36;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    block.eight(4 + group / 2 * 8, group % 2 * 4, 4, codes);
    look_up(twice_e2m1(), codes);
    spread_signed(codes, x);
    const int scale = block.byte(group / 2);
    multiply(scale == 0x7f ? 0.0f : tiny_e4m3(uint32_t(scale)) * 0x1p119f, x);
  }
};

struct TQ1_0 {
  static constexpr int kElements = 256, kBytes = 54;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    // 32 bytes of five digits, 16 of five, 4 of four: digits of one place lie together.
    const int first = group < 20 ? group % 4 * 8 : group < 30 ? 32 + group % 2 * 8 : 48;
    const int place = group < 20 ? group / 4 : group < 30 ? (group - 20) / 2 : (group - 30) * 2;
    uint32_t codes[2];
    block.words(first, codes);
    if (group >= 30) codes[1] = codes[0];
    WAN_UNROLL
    for (int k = 0; k < 2; ++k) codes[k] = digits(codes[k], group < 30 ? place : place + k);
    spread(codes, 1, x);
    multiply(block.half(52), x);
  }

 private:
  /// Of four bytes: digit n is the top of the byte's product with 3^n.
  static WAN_DEVICE uint32_t digits(uint32_t bytes, int place) {
    constexpr uint32_t kEven = 0x00ff00ffu;
    const uint32_t power = place == 0 ? 1u : place == 1 ? 3u : place == 2 ? 9u : place == 3 ? 27u : 81u;
    const uint32_t even = (bytes & kEven) * power & kEven, odd = (bytes >> 8 & kEven) * power & kEven;
    return (even * 3 >> 8 & kEven) | (odd * 3 & 0xff00ff00u);
  }
};

struct TQ2_0 {
  static constexpr int kElements = 256, kBytes = 66;
  static WAN_DEVICE void eight(const Codes& block, int group, float* x) {
    uint32_t codes[2];
    block.eight(group / 16 * 32 + group % 4 * 8, group / 4 % 4 * 2, 2, codes);
    spread(codes, 1, x);
    multiply(block.half(64), x);
  }
};

}  // namespace wan::kernels::widening
