#include "engine/residency/device_budget.h"

#include <c10/util/Exception.h>

#include <algorithm>

#include "engine/base/text.h"

namespace wan {

DeviceBudget::Lease DeviceBudget::take(uint64_t bytes, const std::string& what) {
  touch(what);
  uint64_t used = used_;
  do {
    TORCH_CHECK_WITH(OutOfMemoryError, bytes <= limit_ - used, "[", field_, "] must have ", gigabytes(bytes),
                     " more for ", what, ", got ", gigabytes(limit_ - used), " left of ", gigabytes(limit_));
  } while (!used_.compare_exchange_weak(used, used + bytes));
  for (std::atomic<uint64_t>* most : {&peak_, &recent_}) {
    uint64_t peak = *most;
    while (used + bytes > peak && !most->compare_exchange_weak(peak, used + bytes)) {
    }
  }
  return Lease(this, bytes);
}

void DeviceBudget::touch(const std::string& what) const {
  if (hook_) hook_(what);
}

}  // namespace wan
