// Element by element: GELU with bias where the matrix library has no such epilogue; a step of a solver with guidance.
#pragma once

#include "kernels/op/activation.cuh"
#include "kernels/simt/dispatch.h"

namespace wan::kernels {

constexpr int kPointThreads = 256;

template <int N>
WAN_DEVICE void load_or_zero(const float* from, int64_t first, float (&to)[N]) {
  WAN_UNROLL
  for (int i = 0; i < N; ++i) to[i] = 0;
  if (from) simt::load_floats(from + first, to);
}

/// One block per row: the bias is found without a division.
template <typename T, typename Tile>
WAN_BOUNDED_KERNEL(kPointThreads, 1)
bias_gelu_kernel(BiasGeluArguments a) {
  T* row = static_cast<T*>(a.x) + int64_t(blockIdx.x) * a.channels;
  for (int channel = threadIdx.x * Tile::kPack; channel < a.channels; channel += kPointThreads * Tile::kPack) {
    float value[Tile::kPack], bias[Tile::kPack];
    simt::load_floats(row + channel, value);
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) bias[i] = 0;
    if (a.bias) simt::load_floats(static_cast<const T*>(a.bias) + channel, bias);
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) value[i] = gelu_tanh(value[i] + bias[i]);
    simt::store_floats(row + channel, value);
  }
}

/// Every array is read once and written once: at most 6 and 3 of them, 36 bytes an element. A null input is zero, so
/// that its term adds nothing.
template <typename Tile>
WAN_BOUNDED_KERNEL(kPointThreads, 1)
solver_step_kernel(SolverStepArguments a) {
  constexpr int kPack = Tile::kPack;
  const int64_t first = (int64_t(blockIdx.x) * kPointThreads + threadIdx.x) * kPack;
  if (first >= a.size) return;
  float velocity[kPack], unconditional[kPack], x[kPack], sample[kPack], newest[kPack], older[kPack];
  load_or_zero(a.conditional, first, velocity);
  load_or_zero(a.unconditional, first, unconditional);
  load_or_zero(a.x, first, x);
  load_or_zero(a.sample, first, sample);
  load_or_zero(a.newest, first, newest);
  load_or_zero(a.older, first, older);
  float prediction[kPack], corrected[kPack], next[kPack];
  WAN_UNROLL
  for (int i = 0; i < kPack; ++i) {
    // The difference first, since both branches are large and alike.
    if (a.unconditional) velocity[i] = fmaf(a.guidance, velocity[i] - unconditional[i], unconditional[i]);
    prediction[i] = fmaf(a.velocity, velocity[i], x[i]);
    corrected[i] = a.corrector[0] * sample[i];
    corrected[i] = fmaf(a.corrector[1], newest[i], corrected[i]);
    corrected[i] = fmaf(a.corrector[2], older[i], corrected[i]);
    corrected[i] = fmaf(a.corrector[3], prediction[i], corrected[i]);
    next[i] = a.predictor[0] * (a.corrected ? corrected[i] : x[i]);
    next[i] = fmaf(a.predictor[1], prediction[i], next[i]);
    next[i] = fmaf(a.predictor[2], newest[i], next[i]);
  }
  simt::store_floats(a.prediction + first, prediction);
  if (a.corrected) simt::store_floats(a.corrected + first, corrected);
  if (a.next) simt::store_floats(a.next + first, next);
}

template <typename Run>
cudaError_t run_bias_gelu(const BiasGeluArguments& a, Element element, Run run) {
  return simt::with_element(element, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* kernel = a.channels % 4 ? bias_gelu_kernel<T, simt::Tile<1, 1>> : bias_gelu_kernel<T, simt::Tile<4, 1>>;
    return run(dim3(unsigned(a.rows)), kPointThreads, 0, kernel, a);
  });
}

template <typename Run>
cudaError_t run_solver_step(const SolverStepArguments& a, Run run) {
  const int pack = a.size % 4 ? 1 : 4;
  auto* kernel = a.size % 4 ? solver_step_kernel<simt::Tile<1, 1>> : solver_step_kernel<simt::Tile<4, 1>>;
  const int64_t grain = kPointThreads * pack;
  return run(dim3(unsigned((a.size + grain - 1) / grain)), kPointThreads, 0, kernel, a);
}

}  // namespace wan::kernels
