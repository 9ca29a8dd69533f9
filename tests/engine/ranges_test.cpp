// What a profiler shows of a job: phases and steps around the blocks and operations.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/sampling/denoise.h"
#include "kernels/op/range.h"
#include "tests/support/job.h"

namespace wan {
namespace {

struct Written : kernels::RangeObserver {
  Written() : before(kernels::observe_ranges(this)) {}
  ~Written() override { kernels::observe_ranges(before); }
  void begin(kernels::RangeKind kind, const char* name, int64_t number, const kernels::RangeWork&) override {
    if (kind == kernels::RangeKind::Operation) return void(operations.push_back(false));
    text += name + (number < 0 ? std::string() : " " + std::to_string(number)) + "(";
    operations.push_back(true);
  }
  void end() override {
    if (operations.back()) text += ")";
    operations.pop_back();
  }
  kernels::RangeObserver* const before;
  std::string text;
  std::vector<bool> operations;  // whether each open range is written
};

TEST(Ranges, EachDenoisingStepIsOne) {
  const Schedule schedule(SolverKind::Euler, {{.index = 0, .t = 900, .sigma = 0.9f, .high = true, .guidance = 1},
                                              {.index = 1, .t = 500, .sigma = 0.5f, .high = false, .guidance = 1}});
  Sampling state = begin_sampling(schedule, at::zeros({16, 1, 2, 2}));
  Written seen;
  QuietRun quiet;
  denoise(
      state, schedule, 2, [](const Step&, const at::Tensor& x) { return Velocity{x}; }, quiet);
  EXPECT_EQ(seen.text, "denoise(high-noise step 0()low-noise step 1())");
}

}  // namespace
}  // namespace wan
