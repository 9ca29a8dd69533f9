// The forms that a checkpoint can be converted to, and how rows of a weight are coded in each.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <string_view>

namespace wan::convert {

enum class Target {
  Bf16,
  Fp8,   // E4M3 and one scale for a matrix: "scaled fp8" of ComfyUI
  Int8,  // rows rotated by the regular Hadamard matrix, a scale for each: "int8 ConvRot" of ComfyUI
  Q8_0,  // GGUF
};

/// "bf16", "fp8", "int8", "gguf:Q8_0"; nothing for another word.
std::optional<Target> target_of(std::string_view word);
/// All words, for messages: "bf16, fp8, int8 or gguf:Q8_0".
std::string_view target_words();

/// Rows in their new form.
struct Coded {
  at::Tensor codes;   // [rows, bytes of a row] uint8, or bfloat16 [rows, columns]
  at::Tensor scale;   // [rows] float32 for Int8; undefined else
  at::Tensor values;  // [rows, columns] float32: what a reader gets back
};

/// Whether a matrix with rows of that many values can have the form.
bool takes(Target target, int64_t columns);

/// `rows` [n, columns] float32 in the form. `largest`: the largest magnitude of the whole matrix, for Fp8's scale.
Coded encode(Target target, const at::Tensor& rows, float largest);
/// Fp8's scale of a matrix: largest / 448, and 1 for zeros.
float fp8_scale(float largest);

}  // namespace wan::convert
