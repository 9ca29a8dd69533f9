// Decoders of ggml's blocks, for the table in coding.cpp alone. Each struct has the size of a block and its values.
#pragma once

#include <c10/util/Half.h>

#include <cstdint>
#include <cstring>

#include "kernels/op/clones.h"

namespace wan::kernels::ggml {

template <typename T>
inline T at(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}
inline float half_at(const uint8_t* bytes) {
  return static_cast<float>(at<c10::Half>(bytes));
}

#define WAN_GGML_BLOCK(name, elements, bytes)                                   \
  struct name {                                                                 \
    static constexpr int64_t kElements = elements, kBytes = bytes;              \
    static void widen(const uint8_t* block, float* values);                     \
    static void widen_all(const uint8_t* blocks, int64_t count, float* values); \
  }

// ggml_small.cpp: one scale for a block
WAN_GGML_BLOCK(Q4_0, 32, 18);
WAN_GGML_BLOCK(Q4_1, 32, 20);
WAN_GGML_BLOCK(Q5_0, 32, 22);
WAN_GGML_BLOCK(Q5_1, 32, 24);
WAN_GGML_BLOCK(Q8_0, 32, 34);
WAN_GGML_BLOCK(IQ4_NL, 32, 18);
WAN_GGML_BLOCK(MXFP4, 32, 17);
WAN_GGML_BLOCK(NVFP4, 64, 36);
WAN_GGML_BLOCK(TQ1_0, 256, 54);
WAN_GGML_BLOCK(TQ2_0, 256, 66);
// ggml_super.cpp: scales of sub-blocks, which are codes themselves
WAN_GGML_BLOCK(Q2_K, 256, 84);
WAN_GGML_BLOCK(Q3_K, 256, 110);
WAN_GGML_BLOCK(Q4_K, 256, 144);
WAN_GGML_BLOCK(Q5_K, 256, 176);
WAN_GGML_BLOCK(Q6_K, 256, 210);
WAN_GGML_BLOCK(IQ4_XS, 256, 136);
// ggml_grid.cpp: codes are rows of a grid
WAN_GGML_BLOCK(IQ2_XXS, 256, 66);
WAN_GGML_BLOCK(IQ2_XS, 256, 74);
WAN_GGML_BLOCK(IQ2_S, 256, 82);
WAN_GGML_BLOCK(IQ3_XXS, 256, 98);
WAN_GGML_BLOCK(IQ3_S, 256, 110);
WAN_GGML_BLOCK(IQ1_S, 256, 50);
WAN_GGML_BLOCK(IQ1_M, 256, 56);

#undef WAN_GGML_BLOCK

/// Defines the loop over blocks, for the vectors of each processor.
#define WAN_GGML_LOOP(name)                                                                 \
  WAN_CLONES void name::widen_all(const uint8_t* blocks, int64_t count, float* values) {    \
    for (int64_t i = 0; i < count; ++i) widen(blocks + i * kBytes, values + i * kElements); \
  }

/// The sixteen values of IQ4_NL and IQ4_XS.
inline constexpr int8_t kNonlinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

}  // namespace wan::kernels::ggml
