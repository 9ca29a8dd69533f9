// How exactly the blocks of a transformer compute.
#pragma once

namespace wan {

/// Exact: as the reference does. Balanced: 8-bit linears, and self-attention with 8-bit queries and keys. Fast: 8-bit
/// values as well. Embeddings, norms, modulation, the attention to text and sound, head and residual stay as they are.
/// Fp8 is no step of that ladder: as Exact, but linears whose weights lie in E4M3 with a scale for the matrix or each row are
/// multiplied as E4M3 on both sides (kernels/dequantise/fp8_product.h), by the same arithmetic on every device.
enum class Precision { Exact, Balanced, Fast, Fp8 };

/// Whether linears are rotated and quantised to int8, and self-attention has 8-bit queries and keys.
constexpr bool is_int8(Precision precision) {
  return precision == Precision::Balanced || precision == Precision::Fast;
}

}  // namespace wan
