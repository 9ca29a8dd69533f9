// A contest: several ways to compute one thing on the same inputs, checked, then timed in turns.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "tools/bench/measure.h"
#include "tools/bench/report.h"

namespace wan::bench {

using at::Tensor;

struct Contestant {
  std::string name;
  bool ours;
  /// Starts the work on the input set of this number and returns what it computes. Throws where it cannot.
  std::function<Tensor(size_t set)> run;
  /// What stands beside the row in the table.
  std::string note = {};
  /// Brings the result of `run` to what the others return, outside of the time measured; empty: it is that already.
  std::function<Tensor(const Tensor& result)> finish = {};
  /// The error with which it is still right; 0: the contest's.
  double bound = 0;
};

struct Contest {
  double flops, bytes;  // of one launch
  std::string ceiling;
  size_t sets = 1;  // of inputs, in rotation
  /// Relative L2 of an output for set 0 against float64.
  std::function<double(const Tensor& output)> error;
  double bound;
  std::vector<Contestant> contestants;
};

/// A contest that is not set up yet, since the inputs of all of them would not fit.
struct Plan {
  std::string suite, name, shape;
  std::function<Contest()> make;
};

/// What measures: a GPU's events or a clock, and what has to be read around it.
struct Stopwatch {
  Timer timer;
  Effort effort;
  std::function<void()> reset_peak = {};  // device memory
  std::function<double()> peak_bytes = {};
};

/// Checks each contestant, then times those that are right and adds their rows. Who throws, gives a NaN or an error
/// beyond the bound is left out with the reason. Plans that begin after the budget is spent are left out too.
void run_plans(const std::vector<Plan>& plans, const Stopwatch& stopwatch, const Budget& budget, Report& report);

/// ||got - want|| / ||want|| in float64; infinity where `got` holds a NaN or is of another size.
double relative_l2(const Tensor& got, const Tensor& want);

/// At most 512 indices into `count` rows: the first, the last and others drawn between, ascending, int64.
Tensor sampled_rows(int64_t count, at::Device device);

/// How many sets of inputs make more than four times the largest second-level cache (H200: 50 MB), at most 16.
size_t rotation(double bytes_of_a_set);

}  // namespace wan::bench
