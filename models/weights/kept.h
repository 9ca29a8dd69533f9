// In what the linears of the networks are kept.
#pragma once

namespace wan {

/// Stored: as their files have them, in floats or in codes. Bf16: bfloat16. Fp8, Int8: those of the transformers' blocks in
/// E4M3 or in int8 with a scale for each row, which every product widens again; the others as stored. Linears that the
/// reference computes in float32 never become less than their files have.
enum class Kept { Stored, Bf16, Fp8, Int8 };

}  // namespace wan
