// Codes without scales between them, eight at a time (staged_codes.cuh says what decoders have in common).
#pragma once

#include "kernels/dequantise/staged_codes.cuh"

namespace wan::kernels::widening {

// Each format is a struct with the values and bytes of its block, and with
//   eight(block, group, x): values 8 * group to 8 * group + 7 of the block to x.

struct E4M3 {
  static constexpr int kElements = 8, kBytes = 8;
  static WAN_DEVICE void eight(const Codes& block, int, float* x) {
    uint32_t codes[2];
    block.words(0, codes);
    WAN_UNROLL
    for (int i = 0; i < 8; ++i) {
      const uint32_t code = codes[i / 4] >> i % 4 * 8;
      const float value = tiny_e4m3(code) * 0x1p120f;
      const uint32_t bits = (code & 0x7f) == 0x7f ? 0x7fc00000u : simt::float_bits(value);
      x[i] = simt::float_of_bits(bits | (code & 0x80) << 24);
    }
  }
};

/// The upper byte of a half.
struct E5M2 {
  static constexpr int kElements = 8, kBytes = 8;
  static WAN_DEVICE void eight(const Codes& block, int, float* x) {
    uint32_t codes[2];
    block.words(0, codes);
    WAN_UNROLL
    for (int i = 0; i < 8; ++i) {
      __half_raw bits;
      bits.x = static_cast<unsigned short>(codes[i / 4] >> i % 4 * 8 << 8);
      x[i] = __half2float(__half(bits));
    }
  }
};

struct Int8 {
  static constexpr int kElements = 8, kBytes = 8;
  static WAN_DEVICE void eight(const Codes& block, int, float* x) {
    uint32_t codes[2];
    block.words(0, codes);
    spread_signed(codes, x);
  }
};

/// `kFirst` and `kSecond` are the bits above which the codes of a byte's two values begin.
template <int kFirst, int kSecond>
struct E2M1Pairs {
  static constexpr int kElements = 8, kBytes = 4;
  static WAN_DEVICE void eight(const Codes& block, int, float* x) {
    const uint32_t codes = block.word(0);
    WAN_UNROLL
    for (int i = 0; i < 8; ++i) {
      const uint32_t code = codes >> (i / 2 * 8 + (i % 2 ? kSecond : kFirst));
      // Exponent and mantissa where those of a float lie; 1 has the exponent 1, as a float's 2^-126 has.
      x[i] = simt::float_of_bits((code & 7) << 22 | (code & 8) << 28) * 0x1p126f;
    }
  }
};
using E2M1 = E2M1Pairs<0, 4>;
using E2M1Swapped = E2M1Pairs<4, 0>;

}  // namespace wan::kernels::widening
