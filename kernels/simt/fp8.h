// Packing of 8-bit floats and their matrix instruction, sm_89 and newer.
#pragma once

#include "kernels/simt/mma.h"

namespace wan::simt {

/// Four floats to one register, the first in the lowest byte. To nearest, ties to even; beyond 448 is 448; NaN stays.
WAN_DEVICE uint32_t pack_e4m3(const float (&x)[4]) {
  const uint32_t low = __nv_cvt_float2_to_fp8x2(make_float2(x[0], x[1]), __NV_SATFINITE, __NV_E4M3);
  const uint32_t high = __nv_cvt_float2_to_fp8x2(make_float2(x[2], x[3]), __NV_SATFINITE, __NV_E4M3);
  return low | high << 16;
}

/// Two registers of halves as four floats.
WAN_DEVICE void unpack_halves(float (&to)[4], const uint32_t (&from)[2]) {
  Pack<__half, 4> halves;
  memcpy(&halves, from, sizeof halves);
  WAN_UNROLL
  for (int i = 0; i < 4; ++i) to[i] = to_float(halves.at[i]);
}

#ifdef __CUDACC__

/// d += a b: mma.sync m16n8k32 with e4m3 operands (layouts: fragments.h). The sum inside has about 14 bits.
WAN_DEVICE void mma_16x8x32_e4m3(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// The same with sums in half, two in a register in the order of c_16x8; one beyond 65504 is infinite.
WAN_DEVICE void mma_16x8x32_e4m3(uint32_t (&d)[2], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e4m3.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};"
               : "+r"(d[0]), "+r"(d[1])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

inline void mma_16x8x32_e4m3(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             std::source_location place = std::source_location::current()) {
  MmaLane<float> lane{d, a, b};
  warp_collective(
      "mma_16x8x32_e4m3", lane,
      [](auto& lanes) {
        emulate_mma<e4m3, 32, double>(lanes, kernels::fragments::a_16x32, kernels::fragments::b_32x8);
      },
      place);
}

/// Exact inside, then rounded to half once: a GPU may round oftener or cut off, so what is asked of the result leaves
/// room for that. Sums beyond 65504 become infinite as they do there.
inline void mma_16x8x32_e4m3(uint32_t (&d)[2], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             std::source_location place = std::source_location::current()) {
  __half sums[4];
  std::memcpy(sums, d, sizeof sums);
  MmaLane<__half> lane{sums, a, b};
  warp_collective(
      "mma_16x8x32_e4m3 in half", lane,
      [](auto& lanes) {
        emulate_mma<e4m3, 32, double>(lanes, kernels::fragments::a_16x32, kernels::fragments::b_32x8);
      },
      place);
  std::memcpy(d, sums, sizeof sums);
}

#endif

}  // namespace wan::simt
