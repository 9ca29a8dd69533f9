// What a pair of frames needs, from sizes alone: memory and work, for who plans a run.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

#include "models/rife/model.h"

namespace wan::rife {

/// Bytes of tensors, in the network's dtype.
struct Memory {
  int64_t frame = 0;    // what a Frame holds
  int64_t encode = 0;   // the most that Model::frame takes at once, the Frame itself with it
  int64_t between = 0;  // the most that Model::between takes beside its two Frames, its result with it
};

/// For frames of this size. `threads`: of the CPU, which compute by rows; 0: on whole pictures, as a device does.
/// Without the libraries' own buffers.
Memory memory_of(const Architecture& architecture, int64_t height, int64_t width, const Options& options, int threads);

/// Multiplications and additions of the convolutions: for each frame once, and for each picture between two. 4.0 may
/// look for the motion twice, which is not counted.
struct Work {
  double frame = 0, between = 0;
};
Work work_of(const Architecture& architecture, int64_t height, int64_t width, double scale = 1);

}  // namespace wan::rife
