// Blocks with one scale. Layouts and arithmetic are those of ggml-quants.c; products are rounded before they are added.
#include "kernels/dequantise/ggml_decoders.h"

namespace wan::kernels::ggml {

namespace {

/// Twice the values of E2M1.
constexpr int8_t kE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Bytes of two codes: the low nibbles are the first half of the elements, the high ones the second.
template <int kHalf, typename Value>
inline void halves(const uint8_t* codes, float* values, Value value) {
  for (int j = 0; j < kHalf; ++j) {
    values[j] = value(j, codes[j] & 15);
    values[j + kHalf] = value(j + kHalf, codes[j] >> 4);
  }
}

/// The fifth bits of 32 elements, each as 16 or 0.
struct Fifth {
  explicit Fifth(const uint8_t* bytes) {
    const auto all = at<uint32_t>(bytes);
    for (int i = 0; i < 32; ++i) bits[i] = uint8_t((all >> i & 1) << 4);
  }
  uint8_t bits[32];
};

/// 2^(exponent - 128), as a subnormal where it is one.
float half_of_e8m0(uint8_t exponent) {
  const uint32_t bits = exponent < 2 ? uint32_t(0x00200000) << exponent : uint32_t(exponent - 1) << 23;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Half of the value of an E4M3 without sign; what ggml takes for not a number is 0.
float half_of_e4m3(uint8_t code) {
  if (code == 0x7F) return 0;
  const int exponent = code >> 3 & 15;
  const float mantissa = float(code & 7);
  if (exponent == 0) return mantissa * 0x1p-9f * 0.5f;
  return (1 + mantissa / 8) * (exponent < 7 ? 1 / float(1 << (7 - exponent)) : float(1 << (exponent - 7))) * 0.5f;
}

}  // namespace

void Q4_0::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  halves<16>(block + 2, values, [d](int, int code) { return d * float(code - 8); });
}

void Q4_1::widen(const uint8_t* block, float* values) {
  const float d = half_at(block), m = half_at(block + 2);
  halves<16>(block + 4, values, [d, m](int, int code) { return d * float(code) + m; });
}

void Q5_0::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  const Fifth fifth(block + 2);
  halves<16>(block + 6, values, [&](int i, int code) { return d * float((code | fifth.bits[i]) - 16); });
}

void Q5_1::widen(const uint8_t* block, float* values) {
  const float d = half_at(block), m = half_at(block + 2);
  const Fifth fifth(block + 4);
  halves<16>(block + 8, values, [&](int i, int code) { return d * float(code | fifth.bits[i]) + m; });
}

void Q8_0::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  for (int i = 0; i < 32; ++i) values[i] = d * float(int8_t(block[2 + i]));
}

void IQ4_NL::widen(const uint8_t* block, float* values) {
  const float d = half_at(block);
  halves<16>(block + 2, values, [d](int, int code) { return d * float(kNonlinear[code]); });
}

void MXFP4::widen(const uint8_t* block, float* values) {
  const float d = half_of_e8m0(block[0]);
  halves<16>(block + 1, values, [d](int, int code) { return d * float(kE2M1[code]); });
}

void NVFP4::widen(const uint8_t* block, float* values) {
  for (int k = 0; k < 4; ++k) {
    const float d = half_of_e4m3(block[k]);
    halves<8>(block + 4 + 8 * k, values + 16 * k, [d](int, int code) { return d * float(kE2M1[code]); });
  }
}

void TQ1_0::widen(const uint8_t* block, float* values) {
  const float d = half_at(block + 52);
  // Digit n of a byte is the top of its product with 3^n; digits of one place lie together.
  const auto digits = [&](const uint8_t* codes, int bytes, int places) {
    for (int place = 0, power = 1; place < places; ++place, power *= 3)
      for (int j = 0; j < bytes; ++j) *values++ = d * float((uint8_t(codes[j] * power) * 3 >> 8) - 1);
  };
  digits(block, 32, 5);
  digits(block + 32, 16, 5);
  digits(block + 48, 4, 4);
}

void TQ2_0::widen(const uint8_t* block, float* values) {
  const float d = half_at(block + 64);
  for (int half = 0; half < 2; ++half)
    for (int shift = 0; shift < 8; shift += 2, values += 32)
      for (int l = 0; l < 32; ++l) values[l] = d * float((block[32 * half + l] >> shift & 3) - 1);
}

WAN_GGML_LOOP(Q4_0)
WAN_GGML_LOOP(Q4_1)
WAN_GGML_LOOP(Q5_0)
WAN_GGML_LOOP(Q5_1)
WAN_GGML_LOOP(Q8_0)
WAN_GGML_LOOP(IQ4_NL)
WAN_GGML_LOOP(MXFP4)
WAN_GGML_LOOP(NVFP4)
WAN_GGML_LOOP(TQ1_0)
WAN_GGML_LOOP(TQ2_0)

}  // namespace wan::kernels::ggml
