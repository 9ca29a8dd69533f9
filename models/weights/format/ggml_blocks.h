// The element types of ggml, which GGUF files hold: plain ones, and blocks of codes with scales.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "models/weights/stored_tensor.h"

namespace wan {

/// Types by the number that files bear. Only those that weights can be read from.
enum class GgmlType : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  I8 = 24,
  I16 = 25,
  I32 = 26,
  I64 = 27,
  F64 = 28,
  IQ1_M = 29,
  BF16 = 30,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
  NVFP4 = 40,
};

/// What a file's number stands for: one of the two.
struct GgmlElements {
  std::optional<at::ScalarType> plain;  // elements lie in the file as torch has them
  const Coding* coding = nullptr;
};

/// Null where weights cannot be read from that type.
std::optional<GgmlElements> ggml_elements(uint32_t type);
/// The name of a type that ggml has or had and weights cannot be read from; empty for any other number.
std::string_view unusable_ggml_type(uint32_t type);

/// The float32 values of `count` blocks, bit for bit what ggml's reference decoder gives for finite scales. A plain type
/// has blocks of one element; integers and F64 are rounded to float32. `out` has room for count * elements of a block.
void widen(GgmlType type, const uint8_t* blocks, int64_t count, float* out);

}  // namespace wan
