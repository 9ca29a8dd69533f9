// The codes that checkpoints keep weights in: how a block of bytes becomes values, without scales beside it.
#pragma once

#include <cstdint>
#include <string_view>

namespace wan::kernels {

/// Ways to code values. Those of ggml carry their scales in each block; the others are multiplied by scales that lie in
/// tensors of their own (coded_matrix.h).
enum class Code : uint8_t {
  E4M3,  // float8_e4m3fn
  E5M2,
  Int8,
  E2M1,         // two in a byte, the first one in the low four bits
  E2M1Swapped,  // two in a byte, the first one in the high four bits
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ2_XXS,
  IQ2_XS,
  IQ2_S,
  IQ3_XXS,
  IQ3_S,
  IQ1_S,
  IQ1_M,
  IQ4_NL,
  IQ4_XS,
  TQ1_0,
  TQ2_0,
  MXFP4,
  NVFP4,  // ggml's: blocks of 64 with their scales
};

/// How a row of values is packed: a row is a whole number of blocks.
struct Coding {
  Code code;
  std::string_view name;    // as its format calls it: "F8_E4M3", "Q4_K"
  int64_t elements, bytes;  // of one block
  /// The float32 values of `count` blocks one after another, exactly as the format defines them (for finite scales).
  void (*widen)(const uint8_t* blocks, int64_t count, float* values);
};

/// The one description of `code`, which stays where it is.
const Coding& coding_of(Code code);

}  // namespace wan::kernels
