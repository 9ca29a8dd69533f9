#include "models/weights/format/ggml_blocks.h"

#include <c10/util/BFloat16.h>

#include <stdexcept>
#include <string>

#include "models/weights/format/ggml_decoders.h"

namespace wan {

namespace {

template <typename Block>
void widen_blocks(const uint8_t* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i) Block::widen(blocks + i * Block::kBytes, values + i * Block::kElements);
}

template <typename T>
void widen_plain(const uint8_t* elements, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(ggml::at<T>(elements + i * int64_t(sizeof(T))));
}

struct Row {
  GgmlType type;
  std::optional<at::ScalarType> plain;
  Coding coding;
};

template <typename T>
constexpr Row plain(GgmlType type, std::string_view name, at::ScalarType dtype) {
  return {type, dtype, {name, 1, sizeof(T), widen_plain<T>}};
}
template <typename Block>
constexpr Row coded(GgmlType type, std::string_view name) {
  return {type, std::nullopt, {name, Block::kElements, Block::kBytes, widen_blocks<Block>}};
}

constexpr Row kRows[] = {
    plain<float>(GgmlType::F32, "F32", at::kFloat),
    plain<c10::Half>(GgmlType::F16, "F16", at::kHalf),
    plain<c10::BFloat16>(GgmlType::BF16, "BF16", at::kBFloat16),
    plain<double>(GgmlType::F64, "F64", at::kDouble),
    plain<int8_t>(GgmlType::I8, "I8", at::kChar),
    plain<int16_t>(GgmlType::I16, "I16", at::kShort),
    plain<int32_t>(GgmlType::I32, "I32", at::kInt),
    plain<int64_t>(GgmlType::I64, "I64", at::kLong),
    coded<ggml::Q4_0>(GgmlType::Q4_0, "Q4_0"),
    coded<ggml::Q4_1>(GgmlType::Q4_1, "Q4_1"),
    coded<ggml::Q5_0>(GgmlType::Q5_0, "Q5_0"),
    coded<ggml::Q5_1>(GgmlType::Q5_1, "Q5_1"),
    coded<ggml::Q8_0>(GgmlType::Q8_0, "Q8_0"),
    coded<ggml::Q2_K>(GgmlType::Q2_K, "Q2_K"),
    coded<ggml::Q3_K>(GgmlType::Q3_K, "Q3_K"),
    coded<ggml::Q4_K>(GgmlType::Q4_K, "Q4_K"),
    coded<ggml::Q5_K>(GgmlType::Q5_K, "Q5_K"),
    coded<ggml::Q6_K>(GgmlType::Q6_K, "Q6_K"),
    coded<ggml::IQ2_XXS>(GgmlType::IQ2_XXS, "IQ2_XXS"),
    coded<ggml::IQ2_XS>(GgmlType::IQ2_XS, "IQ2_XS"),
    coded<ggml::IQ2_S>(GgmlType::IQ2_S, "IQ2_S"),
    coded<ggml::IQ3_XXS>(GgmlType::IQ3_XXS, "IQ3_XXS"),
    coded<ggml::IQ3_S>(GgmlType::IQ3_S, "IQ3_S"),
    coded<ggml::IQ1_S>(GgmlType::IQ1_S, "IQ1_S"),
    coded<ggml::IQ1_M>(GgmlType::IQ1_M, "IQ1_M"),
    coded<ggml::IQ4_NL>(GgmlType::IQ4_NL, "IQ4_NL"),
    coded<ggml::IQ4_XS>(GgmlType::IQ4_XS, "IQ4_XS"),
    coded<ggml::TQ1_0>(GgmlType::TQ1_0, "TQ1_0"),
    coded<ggml::TQ2_0>(GgmlType::TQ2_0, "TQ2_0"),
    coded<ggml::MXFP4>(GgmlType::MXFP4, "MXFP4"),
    coded<ggml::NVFP4>(GgmlType::NVFP4, "NVFP4"),
};

struct Unusable {
  uint32_t type;
  std::string_view name;
};

/// For activations alone, without a decoder, or removed from ggml.
constexpr Unusable kUnusable[] = {{4, "Q4_2"},        {5, "Q4_3"},        {9, "Q8_1"},      {15, "Q8_K"},
                                  {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},   {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"},
                                  {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}, {41, "Q1_0"}};

const Row* row_of(uint32_t type) {
  for (const Row& row : kRows)
    if (uint32_t(row.type) == type) return &row;
  return nullptr;
}

}  // namespace

std::optional<GgmlElements> ggml_elements(uint32_t type) {
  const Row* row = row_of(type);
  if (!row) return std::nullopt;
  return GgmlElements{row->plain, row->plain ? nullptr : &row->coding};
}

std::string_view unusable_ggml_type(uint32_t type) {
  for (const Unusable& unusable : kUnusable)
    if (unusable.type == type) return unusable.name;
  return "";
}

void widen(GgmlType type, const uint8_t* blocks, int64_t count, float* out) {
  const Row* row = row_of(uint32_t(type));
  if (!row) throw std::logic_error("[ggml] has no type " + std::to_string(uint32_t(type)));
  row->coding.widen(blocks, count, out);
}

}  // namespace wan
