// `wan-bench cpu`: what the networks cost on the CPU at their real widths, beside tools/bench_cpu_baseline.py.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace wan::bench {

/// Runs the rows of these names (all where empty) and writes one JSON line for each: name, seconds (median of `runs`
/// after one warm-up), peak_rss_mb (peak of the process so far), threads. Weights are random, float32. Throws
/// std::invalid_argument for an unknown name.
void cpu(const std::vector<std::string>& rows, int runs, std::ostream& out);

}  // namespace wan::bench
