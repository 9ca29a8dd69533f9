// Rotation and quantisation of rows to 8 bits in one pass. Memory-bound: 3 bytes an element from 16 bits.
#pragma once

#include "kernels/hadamard.h"
#include "kernels/launch_int8.h"
#include "kernels/simt/dispatch.h"

namespace wan::kernels {

constexpr int kMaxQuantiseThreads = kMaxRowChannels / hadamard::kLaneElements;

/// Multiplies the slices that a warp holds by sqrt(128) H in place: seven stages of sums and differences of pairs, in
/// the order of the reference, so that both round alike.
WAN_DEVICE void rotate_slices(float (&x)[hadamard::kLaneElements]) {
  WAN_UNROLL
  for (int stride = 1; stride < hadamard::kLaneElements; stride *= 2) {
    WAN_UNROLL
    for (int i = 0; i < hadamard::kLaneElements; ++i) {
      if (i & stride) continue;
      const float low = x[i], high = x[i + stride];
      x[i] = low + high;
      x[i + stride] = low - high;
    }
  }
  WAN_UNROLL
  for (int mask = 1; mask < hadamard::kSliceLanes; mask *= 2) {
    const bool upper = threadIdx.x & mask;
    WAN_UNROLL
    for (int i = 0; i < hadamard::kLaneElements; ++i) {
      const float other = simt::shuffle_xor(x[i], mask);
      x[i] = other + (upper ? -x[i] : x[i]);
    }
  }
}

/// The largest magnitude in the block, in every thread; a NaN anywhere is the result, as it is larger than infinity
/// when the bits are read as an integer.
WAN_DEVICE float block_largest(float value) {
  WAN_SHARED(uint32_t, partial, [kMaxQuantiseThreads / simt::kWarp]);
  uint32_t largest = simt::float_bits(fabsf(value));
  largest = simt::warp_largest(largest);
  if (threadIdx.x % simt::kWarp == 0) partial[threadIdx.x / simt::kWarp] = largest;
  simt::sync_block();
  for (unsigned i = 0; i < blockDim.x / simt::kWarp; ++i) largest = partial[i] > largest ? partial[i] : largest;
  return simt::float_of_bits(largest);
}

/// The code nearest to x * inverse, ties to even.
WAN_DEVICE int8_t code_of(float x, float inverse) {
  return int8_t(simt::round_to_int(fminf(fmaxf(x * inverse, -hadamard::kLargestCode), hadamard::kLargestCode)));
}

/// One block per row, 16 channels a thread: 5120 are 10 warps, 13824 are 27.
template <typename T>
WAN_BOUNDED_KERNEL(kMaxQuantiseThreads, 1)
quantise_rows_kernel(QuantiseRowsArguments a) {
  constexpr int kElements = hadamard::kLaneElements, kPack = 16 / sizeof(T);
  const int64_t row = blockIdx.x;
  const int channel = hadamard::channel(threadIdx.x, 0);
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
  rotate_slices(x);
  uint32_t own = 0;
  WAN_UNROLL
  for (int i = 0; i < kElements; ++i) {
    const uint32_t bits = simt::float_bits(fabsf(x[i]));
    own = bits > own ? bits : own;
  }
  const float largest = block_largest(simt::float_of_bits(own));
  const float inverse = largest > hadamard::kSmallest ? hadamard::kLargestCode / largest : 0.0f;
  if (threadIdx.x == 0) {
    a.scale[row] = largest * (hadamard::kNormaliser / hadamard::kLargestCode);
  }
  if (!inside) return;
  simt::Pack<int8_t, kElements> codes;
  WAN_UNROLL
  for (int i = 0; i < kElements; ++i) codes.at[i] = code_of(x[i], inverse);
  *reinterpret_cast<simt::Pack<int8_t, kElements>*>(a.codes + row * a.channels + channel) = codes;
}

template <typename Run>
cudaError_t run_quantise_rows(const QuantiseRowsArguments& a, Element element, Run run) {
  constexpr int kWarpChannels = simt::kWarp * hadamard::kLaneElements;
  const int threads = (a.channels + kWarpChannels - 1) / kWarpChannels * simt::kWarp;
  return simt::with_element(element, [&](auto type) {
    return run(dim3(unsigned(a.rows)), threads, 0, quantise_rows_kernel<typename decltype(type)::type>, a);
  });
}

}  // namespace wan::kernels
