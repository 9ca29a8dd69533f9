// The element types of ggml, which GGUF files hold: plain ones, and blocks of codes with scales.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/dequantise/coding.h"

namespace wan {

/// What a file's number stands for: one of the two.
struct GgmlElements {
  std::optional<at::ScalarType> plain;  // elements lie in the file as torch has them
  const kernels::Coding* coding = nullptr;
};

/// Nothing where weights cannot be read from that type.
std::optional<GgmlElements> ggml_elements(uint32_t type);
/// The name of a type that ggml has or had and weights cannot be read from; empty for any other number.
std::string_view unusable_ggml_type(uint32_t type);

}  // namespace wan
