// `wan-bench cpu`: what the networks and the programs cost on the CPU, beside tools/bench_cpu_baseline.py.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace wan::bench {

struct CpuOptions {
  std::vector<std::string> rows;  // all where empty
  int runs = 5;
  int64_t tokens = 4096;    // of the transformer block
  std::string model;        // folder for the row `inspect`, which is left out without one
  std::string programs;     // folder of wan-infer and wan-bench
  bool in_process = false;  // measure the networks here; else each in a fresh process, so that peaks can be compared
};

/// Names of the rows, in their order.
std::vector<std::string> cpu_rows();

/// One JSON line for each row: name, seconds (median of `runs` after one warm-up), p10, p90, cpu_seconds (of one run,
/// median), peak_rss_mb, threads, status of a program; of a widening, copies: its seconds in plain copies of its values.
/// Weights are random, float32. Throws std::invalid_argument for an unknown name.
void cpu(const CpuOptions& options, std::ostream& out);

}  // namespace wan::bench
