// What this card can do at all: rates that no operation of its kind exceeds, measured before anything else.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/contest.h"
#include "tools/bench/ops.h"

namespace wan::bench {

/// One ceiling: `work` bytes, operations or exponentials for each launch.
struct Probe {
  std::string name;
  double work;
  std::function<Launch()> make;
};

/// copy (read + write), read, bf16, fp16, fp8 and int8 products of `matrix`^3 on random data; on a GPU with our kernels
/// l2_read and exp too. `bytes` is the size of a buffer that no cache holds.
std::vector<Probe> ceiling_probes(const Site& site, int64_t matrix = 8192, int64_t bytes = int64_t(2) << 30);

/// Measures every probe into report.ceilings; what the card or the library cannot do is left out with the reason.
void measure_ceilings(const std::vector<Probe>& probes, const Stopwatch& stopwatch, Report& report);

}  // namespace wan::bench
