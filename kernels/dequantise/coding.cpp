#include "kernels/dequantise/coding.h"

#include <c10/util/Float8_e4m3fn.h>
#include <c10/util/Float8_e5m2.h>

#include <array>
#include <stdexcept>
#include <string>

#include "kernels/dequantise/ggml_decoders.h"

namespace wan::kernels {
namespace {

/// The values of all bytes.
template <typename T>
std::array<float, 256> table() {
  std::array<float, 256> values;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto byte = uint8_t(i);
    values[i] = static_cast<float>(ggml::at<T>(&byte));
  }
  return values;
}

template <typename T>
void widen_elements(const uint8_t* elements, int64_t count, float* values) {
  static const std::array<float, 256> of = table<T>();
  for (int64_t i = 0; i < count; ++i) values[i] = of[elements[i]];
}

WAN_CLONES void widen_int8(const uint8_t* elements, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i) values[i] = float(int8_t(elements[i]));
}

/// `first` and `second` are the bits above which the codes of a byte's two values begin.
template <int first, int second>
void widen_pairs(const uint8_t* pairs, int64_t count, float* values) {
  constexpr float kE2M1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  for (int64_t i = 0; i < count; ++i) {
    values[2 * i] = kE2M1[pairs[i] >> first & 15];
    values[2 * i + 1] = kE2M1[pairs[i] >> second & 15];
  }
}

template <typename Block>
constexpr Coding blocks(Code code, std::string_view name) {
  return {code, name, Block::kElements, Block::kBytes, Block::widen_all};
}

constexpr Coding kCodings[] = {
    {Code::E4M3, "F8_E4M3", 1, 1, widen_elements<c10::Float8_e4m3fn>},
    {Code::E5M2, "F8_E5M2", 1, 1, widen_elements<c10::Float8_e5m2>},
    {Code::Int8, "I8", 1, 1, widen_int8},
    {Code::E2M1, "E2M1", 2, 1, widen_pairs<0, 4>},
    {Code::E2M1Swapped, "E2M1", 2, 1, widen_pairs<4, 0>},
    blocks<ggml::Q4_0>(Code::Q4_0, "Q4_0"),
    blocks<ggml::Q4_1>(Code::Q4_1, "Q4_1"),
    blocks<ggml::Q5_0>(Code::Q5_0, "Q5_0"),
    blocks<ggml::Q5_1>(Code::Q5_1, "Q5_1"),
    blocks<ggml::Q8_0>(Code::Q8_0, "Q8_0"),
    blocks<ggml::Q2_K>(Code::Q2_K, "Q2_K"),
    blocks<ggml::Q3_K>(Code::Q3_K, "Q3_K"),
    blocks<ggml::Q4_K>(Code::Q4_K, "Q4_K"),
    blocks<ggml::Q5_K>(Code::Q5_K, "Q5_K"),
    blocks<ggml::Q6_K>(Code::Q6_K, "Q6_K"),
    blocks<ggml::IQ2_XXS>(Code::IQ2_XXS, "IQ2_XXS"),
    blocks<ggml::IQ2_XS>(Code::IQ2_XS, "IQ2_XS"),
    blocks<ggml::IQ2_S>(Code::IQ2_S, "IQ2_S"),
    blocks<ggml::IQ3_XXS>(Code::IQ3_XXS, "IQ3_XXS"),
    blocks<ggml::IQ3_S>(Code::IQ3_S, "IQ3_S"),
    blocks<ggml::IQ1_S>(Code::IQ1_S, "IQ1_S"),
    blocks<ggml::IQ1_M>(Code::IQ1_M, "IQ1_M"),
    blocks<ggml::IQ4_NL>(Code::IQ4_NL, "IQ4_NL"),
    blocks<ggml::IQ4_XS>(Code::IQ4_XS, "IQ4_XS"),
    blocks<ggml::TQ1_0>(Code::TQ1_0, "TQ1_0"),
    blocks<ggml::TQ2_0>(Code::TQ2_0, "TQ2_0"),
    blocks<ggml::MXFP4>(Code::MXFP4, "MXFP4"),
    blocks<ggml::NVFP4>(Code::NVFP4, "NVFP4"),
};

}  // namespace

const Coding& coding_of(Code code) {
  for (const Coding& coding : kCodings)
    if (coding.code == code) return coding;
  throw std::logic_error("[coding] is not in the table: " + std::to_string(int(code)));
}

}  // namespace wan::kernels
