#include "engine/residency/device_budget.h"

#include <c10/util/Exception.h>

#include <algorithm>

#include "engine/base/text.h"

namespace wan {

DeviceBudget::Lease DeviceBudget::take(uint64_t bytes, const std::string& what) {
  touch(what);
  uint64_t used = used_;
  do {
    const uint64_t limit = limit_, left = limit - std::min(limit, used);
    TORCH_CHECK_WITH(OutOfMemoryError, bytes <= left, "[", field(), "] must have ", gigabytes(bytes), " more for ",
                     what, ", got ", gigabytes(left), " left of ", gigabytes(limit));
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

bool DeviceBudget::look_again(uint64_t least) {
  if (!look_) return false;
  const DeviceRoom now = look_(used_);
  const uint64_t margin = now.all - std::min(now.all, now.usable), before = limit_;
  if (now.usable < before && now.all >= before + margin / 2 && before >= least) return false;
  const uint64_t limit = std::max(now.usable, std::min(least, now.all));
  return limit_.exchange(limit) != limit;
}

}  // namespace wan
