// What the bindings (*_cuda.cpp, ATen) and the launchers (*.cu, no torch header) of all operations agree on. Arguments
// are plain pointers and sizes (launch.h of each operation). Each launcher puts one kernel on `stream` and returns the
// launch's status; it allocates and synchronises nothing.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace wan::kernels {

/// The element types a kernel reads and writes; it computes in float32.
enum class Element { Float, BFloat16, Half };

/// Widest row a row kernel holds in its registers.
constexpr int kMaxRowChannels = 16384;
/// Most segments with modulation rows of their own.
constexpr int kMaxSegments = 4;

/// Where each segment of tokens ends.
struct SegmentEnds {
  int count;
  int ends[kMaxSegments];
};

}  // namespace wan::kernels
