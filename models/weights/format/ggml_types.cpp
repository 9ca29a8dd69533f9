#include "models/weights/format/ggml_types.h"

namespace wan {

namespace {

using kernels::Code;

struct Plain {
  uint32_t type;
  at::ScalarType dtype;
};
struct Coded {
  uint32_t type;
  Code code;
};
struct Unusable {
  uint32_t type;
  std::string_view name;
};

constexpr Plain kPlain[] = {{0, at::kFloat}, {1, at::kHalf},  {24, at::kChar},   {25, at::kShort},
                            {26, at::kInt},  {27, at::kLong}, {28, at::kDouble}, {30, at::kBFloat16}};

constexpr Coded kCoded[] = {{2, Code::Q4_0},     {3, Code::Q4_1},    {6, Code::Q5_0},     {7, Code::Q5_1},
                            {8, Code::Q8_0},     {10, Code::Q2_K},   {11, Code::Q3_K},    {12, Code::Q4_K},
                            {13, Code::Q5_K},    {14, Code::Q6_K},   {16, Code::IQ2_XXS}, {17, Code::IQ2_XS},
                            {18, Code::IQ3_XXS}, {19, Code::IQ1_S},  {20, Code::IQ4_NL},  {21, Code::IQ3_S},
                            {22, Code::IQ2_S},   {23, Code::IQ4_XS}, {29, Code::IQ1_M},   {34, Code::TQ1_0},
                            {35, Code::TQ2_0},   {39, Code::MXFP4},  {40, Code::NVFP4}};

/// For activations alone, without a decoder, or removed from ggml.
constexpr Unusable kUnusable[] = {{4, "Q4_2"},        {5, "Q4_3"},        {9, "Q8_1"},      {15, "Q8_K"},
                                  {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},   {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"},
                                  {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}, {41, "Q1_0"}};

}  // namespace

std::optional<GgmlElements> ggml_elements(uint32_t type) {
  for (const Plain& plain : kPlain)
    if (plain.type == type) return GgmlElements{plain.dtype};
  for (const Coded& coded : kCoded)
    if (coded.type == type) return GgmlElements{{}, &kernels::coding_of(coded.code)};
  return std::nullopt;
}

std::string_view unusable_ggml_type(uint32_t type) {
  for (const Unusable& unusable : kUnusable)
    if (unusable.type == type) return unusable.name;
  return "";
}

}  // namespace wan
