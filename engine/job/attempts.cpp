#include "engine/job/attempts.h"

#include <c10/util/Exception.h>

#include <stdexcept>

#include "engine/residency/failure.h"

namespace wan {

namespace {

/// What libraries throw does not say whether the device is lost: it is asked itself.
bool is_lost(const Attempts& attempts, const c10::Error& error) {
  if (is_device_lost(error)) return true;
  return !is_device_full(error) && !attempts.answers();
}

std::string no_room_text(const Attempts& attempts, const c10::Error& error) {
  // CUDA's errors have advice for programmers in the lines that follow.
  const std::string text = "[memory] " + attempts.stage + " ran out on " + attempts.device() +
                           " with as little on it as can be: " + error.what_without_backtrace();
  return text.substr(0, text.find('\n')) + "; " + attempts.kept + ", " + attempts.less;
}

}  // namespace

void attempt(const Attempts& attempts, const std::function<void()>& work) {
  for (bool first = true;; first = false) {
    try {
      return work();
    } catch (const c10::Error& error) {
      if (is_lost(attempts, error)) throw DeviceLost(lost_text(attempts.device(), error));
      if (!is_device_full(error)) throw;
      if (!attempts.make_room(first)) throw std::runtime_error(no_room_text(attempts, error));
    }
  }
}

}  // namespace wan
