// `wan-bench profile`: where the time of one forward goes, operation by operation.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/weights/precision.h"
#include "tools/bench/ops.h"
#include "tools/bench/report.h"
#include "tools/bench/timeline.h"

namespace wan::bench {

/// Calls of one operation with one shape.
struct KernelTotal {
  std::string name;   // "linear", "aten::add", "between operations"
  std::string shape;  // "75600 x 5120 to 15360"; empty where it is not told
  bool ours = true;
  int64_t calls = 0;
  std::vector<double> milliseconds;  // of each call, without the operations inside of it
  double total = 0;                  // of all calls
  double share = 0;                  // of the whole time line
  kernels::RangeWork work;           // of one call
};
/// By total time, the longest first; the shares add up to 1. What no operation accounts for is "between operations".
std::vector<KernelTotal> totals_of(const std::vector<TimedRange>& ranges);

/// Rows of the suite "profile", with shares and calls in their notes.
std::vector<Row> profile_rows(const std::vector<KernelTotal>& totals, const std::string& shape);
/// A Markdown table: kernel, shape, calls, milliseconds, share, rate, part of the ceiling.
std::string profile_table(const std::vector<KernelTotal>& totals, const Report& report);

struct ProfileOptions {
  std::string resolution = "720p";  // a label of real_resolutions()
  std::string precision = "exact";
  int64_t branches = 1;         // of guidance
  bool small_networks = false;  // always without a card
  std::string trace;            // file for the time line; empty: none
  std::string command, commit;
  kernels::Options kernels = {};
};
/// One forward after a warm-up, on the first CUDA device, or on the CPU with a small network of 2 blocks and a small
/// frame, which the report tells. Throws std::invalid_argument for words that are not known.
struct Profile {
  Report report;
  std::vector<KernelTotal> totals;
};
Profile profile(const ProfileOptions& options);

}  // namespace wan::bench
