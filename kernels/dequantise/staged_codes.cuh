// Codes in shared memory at any alignment, and what the decoders of all formats share. Products and sums are rounded one
// by one, as those of the CPU's decoders are: nothing here may become a fused product.
#pragma once

#include "kernels/dequantise/ggml_grids.h"
#include "kernels/simt/simt.h"

namespace wan::kernels::widening {

#ifdef __CUDACC__
WAN_DEVICE float product(float a, float b) {
  return __fmul_rn(a, b);
}
WAN_DEVICE float sum(float a, float b) {
  return __fadd_rn(a, b);
}
/// Four bytes of the eight of `low` and `high`, chosen by the low three bits of the selector's nibbles.
WAN_DEVICE uint32_t choose_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  return __byte_perm(low, high, selector);
}
/// The four bytes that begin at byte `first` (0 to 3) of the eight of `low` and `high`.
WAN_DEVICE uint32_t bytes_from(uint32_t low, uint32_t high, unsigned first) {
  return __funnelshift_r(low, high, 8 * first);
}
#else
inline float product(float a, float b) {
  return a * b;
}
inline float sum(float a, float b) {
  return a + b;
}
inline uint32_t choose_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t both = uint64_t(high) << 32 | low;
  uint32_t chosen = 0;
  for (int i = 0; i < 4; ++i) chosen |= uint32_t(both >> (selector >> 4 * i & 7) * 8 & 255) << 8 * i;
  return chosen;
}
inline uint32_t bytes_from(uint32_t low, uint32_t high, unsigned first) {
  return uint32_t((uint64_t(high) << 32 | low) >> 8 * first);
}
#endif

/// A block's bytes. Words may be read up to kPastTheEnd bytes behind the last code.
class Codes {
 public:
  static constexpr int kPastTheEnd = 8;
  /// The block begins at byte `at` of `shared`, which is aligned to 4.
  WAN_DEVICE Codes(const unsigned char* shared, unsigned at) : shared_(shared), at_(at) {}

  WAN_DEVICE int byte(int i) const { return shared_[at_ + unsigned(i)]; }
  WAN_DEVICE int pair(int i) const { return byte(i) | byte(i + 1) << 8; }
  WAN_DEVICE float half(int i) const {
    __half_raw bits;
    bits.x = static_cast<unsigned short>(pair(i));
    return __half2float(__half(bits));
  }
  WAN_DEVICE uint32_t word(int i) const {
    uint32_t one[1];
    words(i, one);
    return one[0];
  }
  /// The words that begin at byte i: aligned loads, shifted.
  template <int N>
  WAN_DEVICE void words(int i, uint32_t (&to)[N]) const {
    const auto* from = reinterpret_cast<const uint32_t*>(shared_) + (at_ + unsigned(i)) / 4;
    uint32_t last = from[0];
    WAN_UNROLL
    for (int k = 0; k < N; ++k) {
      const uint32_t next = from[k + 1];
      to[k] = bytes_from(last, next, (at_ + unsigned(i)) % 4);
      last = next;
    }
  }
  /// Eight codes of `bits` bits, each the lowest above `shift` of its byte.
  WAN_DEVICE void eight(int i, int shift, uint32_t bits, uint32_t (&to)[2]) const {
    words(i, to);
    WAN_UNROLL
    for (int k = 0; k < 2; ++k) to[k] = to[k] >> shift & 0x01010101u * ((1u << bits) - 1);
  }

 private:
  const unsigned char* shared_;
  unsigned at_;
};

/// Eight unsigned bytes less `bias`, exactly: the byte is put under 2^23, whose unit is 1.
WAN_DEVICE void spread(const uint32_t (&bytes)[2], float bias, float* x) {
  constexpr uint32_t kTwoTo23 = 0x4B000000;
  WAN_UNROLL
  for (int i = 0; i < 8; ++i)
    x[i] = simt::float_of_bits(choose_bytes(bytes[i / 4], kTwoTo23, 0x7650u | unsigned(i % 4))) - (8388608.0f + bias);
}
/// The same of signed bytes.
WAN_DEVICE void spread_signed(const uint32_t (&bytes)[2], float* x) {
  const uint32_t shifted[2] = {bytes[0] ^ 0x80808080u, bytes[1] ^ 0x80808080u};
  spread(shifted, 128, x);
}

/// x = scale * x; the second adds `offset` to it.
WAN_DEVICE void multiply(float scale, float* x) {
  WAN_UNROLL
  for (int i = 0; i < 8; ++i) x[i] = product(scale, x[i]);
}
WAN_DEVICE void multiply_add(float scale, float offset, float* x) {
  WAN_UNROLL
  for (int i = 0; i < 8; ++i) x[i] = sum(product(scale, x[i]), offset);
}

/// Sixteen signed bytes, the first in the lowest byte of the first word.
struct Sixteen {
  uint32_t words[4];
};
/// The values of IQ4_NL and IQ4_XS.
WAN_DEVICE Sixteen nonlinear() {
  return {{0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u}};
}
/// Twice the values of E2M1.
WAN_DEVICE Sixteen twice_e2m1() {
  return {{0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu}};
}

/// What codes of four bits, one in a byte, stand for.
WAN_DEVICE void look_up(Sixteen table, uint32_t (&codes)[2]) {
  WAN_UNROLL
  for (int k = 0; k < 2; ++k) {
    const uint32_t pairs = codes[k] | codes[k] >> 4;                     // two codes in bytes 0 and 2
    const uint32_t selector = choose_bytes(pairs, 0, 0x0020) & 0x7777u;  // four in 16 bits, without their top bits
    const uint32_t low = choose_bytes(table.words[0], table.words[1], selector);
    const uint32_t high = choose_bytes(table.words[2], table.words[3], selector);
    const uint32_t upper = (codes[k] >> 3 & 0x01010101u) * 255;
    codes[k] = (low & ~upper) | (high & upper);
  }
}

/// The value of an E4M3 without sign, times 2^-120: its bits where those of a float lie, subnormal or not.
WAN_DEVICE float tiny_e4m3(uint32_t code) {
  return simt::float_of_bits((code & 0x7f) << 20);
}

}  // namespace wan::kernels::widening
