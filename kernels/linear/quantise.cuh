// Rotation and quantisation of rows to 8 bits in one pass. Memory-bound: 3 bytes an element from 16 bits.
#pragma once

#include "kernels/linear/hadamard.cuh"
#include "kernels/linear/int8_codes.h"
#include "kernels/linear/launch.h"
#include "kernels/simt/dispatch.h"

namespace wan::kernels {

constexpr int kLaneElements = 16;  // neighbours that a thread holds: 16 codes are one store
constexpr int kMaxQuantiseThreads = kMaxRowChannels / kLaneElements;

/// The larger of `largest` and the magnitudes in x, as the bits of a float: NaN is larger than infinity.
template <int kElements>
WAN_DEVICE uint32_t largest_bits(const float (&x)[kElements], uint32_t largest = 0) {
  WAN_UNROLL
  for (int i = 0; i < kElements; ++i) {
    const uint32_t bits = simt::float_bits(fabsf(x[i]));
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

/// The largest magnitude in a block of `threads`, in every thread; a NaN anywhere is the result.
template <int kMaxThreads = kMaxQuantiseThreads>
WAN_DEVICE float block_largest(float value, unsigned threads = blockDim.x) {
  WAN_SHARED(uint32_t, partial, [kMaxThreads / simt::kWarp]);
  uint32_t largest = simt::float_bits(fabsf(value));
  largest = simt::warp_largest(largest);
  if (threadIdx.x % simt::kWarp == 0) partial[threadIdx.x / simt::kWarp] = largest;
  simt::sync_block();
  for (unsigned i = 0; i < threads / simt::kWarp; ++i) largest = partial[i] > largest ? partial[i] : largest;
  return simt::float_of_bits(largest);
}

/// What a row with this largest magnitude is multiplied by to become codes, and its codes to become the row again.
WAN_DEVICE float inverse_of(float largest) {
  return largest > int8_codes::kSmallest ? int8_codes::kLargest / largest : 0.0f;
}
WAN_DEVICE float scale_of(float largest) {
  return largest * (1.0f / int8_codes::kLargest);
}

/// The code nearest to x * inverse, ties to even.
WAN_DEVICE int8_t code_of(float x, float inverse) {
  return int8_t(simt::round_to_int(fminf(fmaxf(x * inverse, -int8_codes::kLargest), int8_codes::kLargest)));
}

template <int kElements>
WAN_DEVICE void store_codes(int8_t* to, const float (&x)[kElements], float inverse) {
  simt::Pack<int8_t, kElements> codes;
  WAN_UNROLL
  for (int i = 0; i < kElements; ++i) codes.at[i] = code_of(x[i], inverse);
  *reinterpret_cast<simt::Pack<int8_t, kElements>*>(to) = codes;
}

/// One block per row, 16 channels a thread: 5120 are 10 warps, 13824 are 27.
template <typename T>
WAN_BOUNDED_KERNEL(kMaxQuantiseThreads, 1)
quantise_rows_kernel(QuantiseRowsArguments a) {
  constexpr int kElements = kLaneElements, kPack = 16 / sizeof(T);
  const int64_t row = blockIdx.x;
  const int channel = int(threadIdx.x) * kElements;
  const bool inside = channel < a.channels;
  float x[kElements] = {};
  if (inside) {
    const T* from = static_cast<const T*>(a.x) + row * a.channels + channel;
    WAN_UNROLL
    for (int pack = 0; pack < kElements / kPack; ++pack) {
      float part[kPack];
      simt::load_floats(from + pack * kPack, part);
      WAN_UNROLL
      for (int i = 0; i < kPack; ++i) x[pack * kPack + i] = part[i];
    }
  }
  const int order = hadamard::order(a.channels);
  const float normaliser = hadamard::normaliser(order);
  hadamard::rotate_groups(x, order);
  const float largest = normaliser * block_largest(simt::float_of_bits(largest_bits(x)));
  if (threadIdx.x == 0) a.scale[row] = scale_of(largest);
  if (inside) store_codes(a.codes + row * a.channels + channel, x, normaliser * inverse_of(largest));
}

template <typename Run>
cudaError_t run_quantise_rows(const QuantiseRowsArguments& a, Element element, Run run) {
  constexpr int kWarpChannels = simt::kWarp * kLaneElements;
  const int threads = (a.channels + kWarpChannels - 1) / kWarpChannels * simt::kWarp;
  return simt::with_element(element, [&](auto type) {
    return run(dim3(unsigned(a.rows)), threads, 0, quantise_rows_kernel<typename decltype(type)::type>, a);
  });
}

}  // namespace wan::kernels
