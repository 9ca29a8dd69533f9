// The number of threads that libtorch computes with.
#pragma once

#include <cstdint>

namespace wan {

/// Sets it; 0 leaves it as it is. Tries first whether as many threads can be made: libtorch's would sleep for minutes
/// where the system has no room for them. Throws InvalidRequest naming `threads` where it has none.
void set_threads(int64_t asked);

}  // namespace wan
