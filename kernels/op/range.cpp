#include "kernels/op/range.h"

#include <cstdio>

// Header-only: it looks for a profiler once, when the first range begins. Where the CUDA toolkit lacks it, ranges are
// seen by observers alone.
#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define WAN_NVTX 1
#endif

namespace wan::kernels {
namespace {

thread_local RangeObserver* observer = nullptr;

void push([[maybe_unused]] const char* name, [[maybe_unused]] int64_t number) {
#ifdef WAN_NVTX
  if (number < 0) {
    nvtxRangePushA(name);
    return;
  }
  char text[64];
  std::snprintf(text, sizeof text, "%s %lld", name, static_cast<long long>(number));
  nvtxRangePushA(text);
#endif
}

void pop() {
#ifdef WAN_NVTX
  nvtxRangePop();
#endif
}

}  // namespace

RangeObserver* observe_ranges(RangeObserver* next) {
  return std::exchange(observer, next);
}

bool Range::is_observed() {
  return observer != nullptr;
}

void Range::begin(RangeKind kind, const char* name, int64_t number, const RangeWork& work) {
  push(name, number);
  if (observer) observer->begin(kind, name, number, work);
}

Range::~Range() {
  if (observer) observer->end();
  pop();
}

}  // namespace wan::kernels
