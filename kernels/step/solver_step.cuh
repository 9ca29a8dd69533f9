// A step of a solver with guidance, element by element.
#pragma once

#include "kernels/simt/dispatch.h"
#include "kernels/step/launch.h"

namespace wan::kernels {

constexpr int kStepThreads = 256;

template <int N>
WAN_DEVICE void load_or_zero(const float* from, int64_t first, float (&to)[N]) {
  WAN_UNROLL
  for (int i = 0; i < N; ++i) to[i] = 0;
  if (from) simt::load_floats(from + first, to);
}

/// Every array is read once and written once: at most 6 and 3 of them, 36 bytes an element. A null input is zero, so
/// that its term adds nothing.
template <typename Tile>
WAN_BOUNDED_KERNEL(kStepThreads, 1)
solver_step_kernel(SolverStepArguments a) {
  constexpr int kPack = Tile::kPack;
  const int64_t first = (int64_t(blockIdx.x) * kStepThreads + threadIdx.x) * kPack;
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
cudaError_t run_solver_step(const SolverStepArguments& a, Run run) {
  const int pack = a.size % 4 ? 1 : 4;
  auto* kernel = a.size % 4 ? solver_step_kernel<simt::Tile<1, 1>> : solver_step_kernel<simt::Tile<4, 1>>;
  const int64_t grain = kStepThreads * pack;
  return run(dim3(unsigned((a.size + grain - 1) / grain)), kStepThreads, 0, kernel, a);
}

}  // namespace wan::kernels
