#include "models/weights/host_room.h"

namespace wan {

void HostRoom::set_limits(uint64_t limit, uint64_t pinnable) {
  limit_ = limit;
  pinnable_ = pinnable;
}

bool HostRoom::take(std::atomic<uint64_t>& used, uint64_t limit, uint64_t bytes) {
  uint64_t before = used;
  do {
    if (bytes > limit || before > limit - bytes) return false;
  } while (!used.compare_exchange_weak(before, before + bytes));
  return true;
}

}  // namespace wan
