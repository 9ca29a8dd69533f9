// Launchers of the two probes that ATen has no operation for; see ceiling_kernels.cu. No torch header here.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace wan::bench {

/// Reads `words` 16-byte words `rounds` times, each block all of them, past the first-level cache; words is a multiple
/// of 1024. `out` [1] takes what keeps the compiler honest.
cudaError_t launch_l2_read(const void* data, int64_t words, int rounds, int blocks, float* out, cudaStream_t stream);

/// `per_thread` exponentials (ex2.approx, as softmax uses it) in each of 256 threads of each block.
cudaError_t launch_exponentials(int per_thread, int blocks, float* out, cudaStream_t stream);

}  // namespace wan::bench
