// The rules of a kernel source: what is written against this header compiles as device code under nvcc and as host C++,
// where the tests execute it (host.h: one fiber for each CUDA thread).
//
//  - A kernel lives in a .cuh without <<<>>>, its launcher in the .cu beside it; neither includes a torch header.
//  - Kernels are WAN_KERNEL, device functions WAN_DEVICE, index maps WAN_HOST_DEVICE (constexpr, tested on the CPU).
//  - Shared memory comes from WAN_SHARED or WAN_DYNAMIC_SHARED; on the host it starts as NaN, so an unwritten element
//  shows.
//  - Barriers, shuffles, matrix and asynchronous instructions only through the functions here and in mma.h, and
//  warp-wide
//    ones by all 32 lanes. threadIdx, blockIdx, blockDim and gridDim are CUDA's own; a block has whole warps.
//  - C++17, since that is what nvcc gets from CMake 3.22. No recursion, no allocation, no printf.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define WAN_KERNEL __global__ void
#define WAN_BOUNDED_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define WAN_DEVICE __device__ __forceinline__
#define WAN_HOST_DEVICE __host__ __device__ constexpr
#define WAN_SHARED(type, name, extent) __shared__ type name extent
#define WAN_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#define WAN_UNROLL _Pragma("unroll")
#define WAN_GRID_CONSTANT __grid_constant__
#else
#include "kernels/simt/emulator/host.h"
// Internal linkage: nvcc's launch stub of a kernel has the same name, and a program may hold both.
#define WAN_KERNEL [[maybe_unused]] static void
#define WAN_BOUNDED_KERNEL(threads, blocks) [[maybe_unused]] static void
#define WAN_DEVICE inline
#define WAN_HOST_DEVICE constexpr
#define WAN_SHARED(type, name, extent) auto& name = ::wan::simt::shared_variable<type extent>([] {})
#define WAN_DYNAMIC_SHARED(name) unsigned char* const name = ::wan::simt::running_block().dynamic_shared()
#define WAN_UNROLL
#define WAN_GRID_CONSTANT
#endif

namespace wan::simt {

using bf16 = __nv_bfloat16;
using e4m3 = __nv_fp8_e4m3;  // 4 bits of exponent, 3 of mantissa, largest 448

constexpr int kWarp = 32;

#ifdef __CUDACC__

/// __syncthreads: all threads of the block, at the same place.
WAN_DEVICE void sync_block() {
  __syncthreads();
}
WAN_DEVICE void sync_warp() {
  __syncwarp();
}

/// The value of lane `lane ^ mask`.
template <typename T>
WAN_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

/// The value of lane `source`.
template <typename T>
WAN_DEVICE T shuffle(T value, int source) {
  return __shfl_sync(0xffffffffu, value, source);
}

/// Whether `mine` is true in all 32 lanes.
WAN_DEVICE bool all_of_warp(bool mine) {
  return __all_sync(0xffffffffu, mine);
}

/// Adds to a counter in global memory, in any order with other threads.
WAN_DEVICE void add_to_counter(unsigned long long* counter, unsigned long long value) {
  atomicAdd(counter, value);
}

/// 2^x to within 2 ulp, one MUFU instruction; 2^-inf is 0.
WAN_DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
WAN_DEVICE float reciprocal_sqrt(float x) {
  return rsqrtf(x);
}

/// The nearest integer, ties to even.
WAN_DEVICE int round_to_int(float x) {
  return __float2int_rn(x);
}
WAN_DEVICE uint32_t float_bits(float x) {
  return __float_as_uint(x);
}
WAN_DEVICE float float_of_bits(uint32_t bits) {
  return __uint_as_float(bits);
}

#else

WAN_DEVICE void sync_block(std::source_location place = std::source_location::current()) {
  running_block().block_barrier(place);
}
WAN_DEVICE void sync_warp(std::source_location place = std::source_location::current()) {
  int nothing = 0;
  warp_collective(
      "sync_warp", nothing, [](auto&) {}, place);
}

template <typename T>
WAN_DEVICE T shuffle_xor(T value, int mask, std::source_location place = std::source_location::current()) {
  struct Lane {
    T value;
    int mask;
    T result;
  } lane{value, mask, value};
  warp_collective(
      "shuffle_xor", lane,
      [](auto& lanes) {
        for (int i = 0; i < kWarp; ++i) lanes[i]->result = lanes[i ^ lanes[i]->mask]->value;
      },
      place);
  return lane.result;
}

template <typename T>
WAN_DEVICE T shuffle(T value, int source, std::source_location place = std::source_location::current()) {
  struct Lane {
    T value;
    int source;
    T result;
  } lane{value, source, value};
  warp_collective(
      "shuffle", lane,
      [](auto& lanes) {
        for (int i = 0; i < kWarp; ++i) lanes[i]->result = lanes[lanes[i]->source & (kWarp - 1)]->value;
      },
      place);
  return lane.result;
}

WAN_DEVICE bool all_of_warp(bool mine, std::source_location place = std::source_location::current()) {
  struct Lane {
    bool mine, all;
  } lane{mine, false};
  warp_collective(
      "all_of_warp", lane,
      [](auto& lanes) {
        bool all = true;
        for (const auto* one : lanes) all = all && one->mine;
        for (auto* one : lanes) one->all = all;
      },
      place);
  return lane.all;
}

// The host's threads are fibers: none comes between the reading and the writing.
WAN_DEVICE void add_to_counter(unsigned long long* counter, unsigned long long value) {
  *counter += value;
}

WAN_DEVICE float exp2_fast(float x) {
  return std::exp2(x);
}
WAN_DEVICE float reciprocal_sqrt(float x) {
  return 1.0f / std::sqrt(x);
}

WAN_DEVICE int round_to_int(float x) {
  return int(std::nearbyint(x));
}
WAN_DEVICE uint32_t float_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
WAN_DEVICE float float_of_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

#endif

WAN_DEVICE float to_float(float x) {
  return x;
}
WAN_DEVICE float to_float(bf16 x) {
  return __bfloat162float(x);
}
WAN_DEVICE float to_float(__half x) {
  return __half2float(x);
}
WAN_DEVICE float to_float(e4m3 x) {
  return float(x);
}

/// Rounds to nearest, ties to even.
template <typename T>
WAN_DEVICE T from_float(float x);
template <>
WAN_DEVICE float from_float<float>(float x) {
  return x;
}
template <>
WAN_DEVICE bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
WAN_DEVICE __half from_float<__half>(float x) {
  return __float2half_rn(x);
}

/// N neighbouring elements, moved by one instruction: N * sizeof(T) of 2, 4, 8 or 16 bytes, aligned to it.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <int N, typename T>
WAN_DEVICE void load_floats(const T* from, float (&to)[N]) {
  const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
  WAN_UNROLL
  for (int i = 0; i < N; ++i) to[i] = to_float(pack.at[i]);
}

template <int N, typename T>
WAN_DEVICE void store_floats(T* to, const float (&from)[N]) {
  Pack<T, N> pack;
  WAN_UNROLL
  for (int i = 0; i < N; ++i) pack.at[i] = from_float<T>(from[i]);
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

/// The sum over the warp, in every lane.
WAN_DEVICE float warp_sum(float value) {
  WAN_UNROLL
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

/// The largest value of the warp, in every lane.
WAN_DEVICE uint32_t warp_largest(uint32_t value) {
  WAN_UNROLL
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const uint32_t other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

/// The sum over a one-dimensional block of kThreads, in every thread. Two barriers: may be called again at once.
template <int kThreads>
WAN_DEVICE float block_sum(float value) {
  static_assert(kThreads % kWarp == 0, "whole warps");
  WAN_SHARED(float, partial, [kThreads / kWarp]);
  value = warp_sum(value);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  sync_block();
  float total = 0;
  WAN_UNROLL
  for (int i = 0; i < kThreads / kWarp; ++i) total += partial[i];
  sync_block();
  return total;
}

}  // namespace wan::simt
