#include "engine/residency/failure.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <new>
#include <nlohmann/json.hpp>
#include <string_view>

#include "kernels/op/device_failure.h"

namespace wan {
namespace {

using kernels::device_failure;
using kernels::DeviceFailure;

constexpr const char* kOutOfMemory =
    "[memory] ran out; fewer frames, a smaller size or fewer other programs need less of it";

/// Of the host, or of a device where the error's type says so.
bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) || dynamic_cast<const c10::OutOfMemoryError*>(&error)) return true;
  // The allocator of the CPU has no type of its own for it.
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return torch && std::string_view(torch->what_without_backtrace()).find("can't allocate memory") != std::string::npos;
}

/// CUDA's errors have advice for programmers in the lines that follow.
std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

std::string torch_text(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  if (device_failure(error) == DeviceFailure::Full) {
    std::string full = kOutOfMemory;
    full.append(" (").append(first_line(text)).append(")");
    return full;
  }
  return dynamic_cast<const c10::AcceleratorError*>(&error) ? first_line(text) : text;
}

}  // namespace

bool is_device_lost(const std::exception& error) {
  if (dynamic_cast<const DeviceLost*>(&error)) return true;
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return torch && device_failure(*torch) == DeviceFailure::Lost;
}

bool is_device_full(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return torch && device_failure(*torch) == DeviceFailure::Full;
}

bool answers(at::Device device) {
  if (!device.is_cuda()) return true;
  try {
    c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
    return true;
  } catch (const c10::Error&) {
    return false;
  }
}

std::string lost_text(const std::string& device, const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string_view why = torch ? torch->what_without_backtrace() : error.what();
  std::string text = "[device] " + device + " can compute nothing more in this run: ";
  text += why.substr(0, why.find('\n'));
  return text +
         "; the same command goes on from what was saved. If it happens again, nvidia-smi and the system's log (dmesg, "
         "lines with Xid) tell of the card, and WAN_KERNELS=reference does without the kernels of this program";
}

std::string text_of(const std::exception& error) {
  if (is_out_of_memory(error)) return kOutOfMemory;
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error))
    return is_device_lost(error) ? lost_text("the device", error) : torch_text(*torch);
  if (dynamic_cast<const nlohmann::json::exception*>(&error))
    return "[json] holds something else than this program reads there; this is a bug, please report the command";
  return error.what();
}

}  // namespace wan
