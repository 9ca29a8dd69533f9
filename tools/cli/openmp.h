// The environment variables of OpenMP, looked at before libgomp is loaded: it tells what it cannot read in words of its
// own, and goes on without.
#pragma once

#include <string>

namespace wan {

/// Why libgomp would not take OMP_NUM_THREADS, OMP_THREAD_LIMIT, OMP_DYNAMIC or OMP_WAIT_POLICY, as one line for the
/// user: `[OMP_NUM_THREADS] must be ..., got 'abc'; ...`. Empty where all are unset, empty or right. Those that are
/// empty are removed from the environment, since libgomp takes them as wrong.
std::string wrong_openmp();

}  // namespace wan
