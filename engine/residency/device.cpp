#include "engine/residency/device.h"

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/units.h"
#include "engine/residency/host_memory.h"
#include "engine/residency/machine.h"
#include "engine/residency/usable_card.h"
#include "kernels/op/device.h"
#include "kernels/op/device_failure.h"

namespace wan {

namespace {

at::Device parse_device(const std::string& text, const char* field) {
  if (text == "cpu") return at::kCPU;
  const CardSituation situation = card_situation();
  if (const auto why = why_no_card(text, situation)) throw InvalidRequest(field, *why);
  if (text == "auto" && situation.usable == 0) return at::kCPU;
  at::Device device(text == "auto" ? "cuda" : text);
  if (!device.is_cuda()) return device;
  if (!device.has_index()) {
    std::vector<int> architectures;
    for (int64_t card = 0; card < situation.usable; ++card)
      architectures.push_back(kernels::cuda::architecture(at::Device(at::kCUDA, at::DeviceIndex(card))));
    device = at::Device(at::kCUDA, at::DeviceIndex(chosen_card(architectures)));
  }
  if (const auto why = why_too_old(kernels::cuda::architecture(device))) throw InvalidRequest(field, *why);
  return device;
}

/// The number of kB after `key` in a /proc file.
std::optional<uint64_t> proc_kilobytes(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return std::stoull(line.substr(key.size())) * 1024;
  return std::nullopt;
}

/// Of a GPU: what the driver says is free, and what the allocator holds for this process, in use or cached.
DeviceBudget::Look look_at(at::Device device, bool has_display) {
  return [=](uint64_t) {
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    const int64_t held = stats.reserved_bytes[size_t(c10::CachingAllocator::StatType::AGGREGATE)].current;
    const uint64_t all = available_memory(device) + uint64_t(held);
    return DeviceRoom{wan::budget_of(all, has_display), all};
  };
}

DeviceBudget::Look at_most(uint64_t allowed, DeviceBudget::Look look) {
  return [allowed, look = std::move(look)](uint64_t used) {
    const DeviceRoom now = look(used);
    return DeviceRoom{std::min(now.usable, allowed), std::min(now.all, allowed)};
  };
}

/// What a job may take of the device; null on a CPU of which all may be taken.
std::shared_ptr<DeviceBudget> budget_of(const Request& request, at::Device device, DeviceBudget::Hook hook,
                                        DeviceBudget::Look look) {
  const uint64_t asked = read_size(request.device_memory).value_or(0);
  if (device.is_cpu() && asked == 0) return nullptr;
  const bool has_display = device.is_cuda() && display_on_nvidia();
  const uint64_t free = available_memory(device);
  const uint64_t usable = device.is_cpu() ? free : wan::budget_of(free, has_display);
  const bool is_limited = asked > 0 && asked < usable;
  if (!look && device.is_cuda()) look = look_at(device, has_display);
  if (look && asked > 0) look = at_most(asked, std::move(look));
  return std::make_shared<DeviceBudget>(is_limited ? asked : usable, is_limited ? "device_memory" : "memory",
                                        std::move(hook), std::move(look));
}

}  // namespace

Placement resolve_placement(const Request& request, Contexts* contexts, DeviceBudget::Hook hook,
                            DeviceBudget::Look look) {
  Placement placement;
  placement.device = parse_device(request.device, "device");
  placement.dtype =
      request.dtype == "bf16" || (request.dtype == "auto" && placement.device.is_cuda()) ? at::kBFloat16 : at::kFloat;
  placement.precision = request.precision == "fast"       ? Precision::Fast
                        : request.precision == "balanced" ? Precision::Balanced
                        : request.precision == "fp8"      ? Precision::Fp8
                                                          : Precision::Exact;
  placement.weights = request.weights == "bf16"   ? Kept::Bf16
                      : request.weights == "fp8"  ? Kept::Fp8
                      : request.weights == "int8" ? Kept::Int8
                                                  : Kept::Stored;
  if (placement.device.is_cuda() && placement.dtype == at::kBFloat16) placement.vae = at::kHalf;
  placement.noise =
      request.noise_device == "auto" ? placement.device : parse_device(request.noise_device, "noise_device");
  // Pinned memory and the driver's context of this thread are then that card's, and take nothing of another.
  if (placement.device.is_cuda()) c10::impl::VirtualGuardImpl(placement.device.type()).setDevice(placement.device);
  if (contexts) placement.context = contexts->on(placement.device);
  placement.budget = budget_of(request, placement.device, std::move(hook), std::move(look));
  if (const uint64_t allowed = read_size(request.device_memory).value_or(0); allowed > 0) placement.allowed = allowed;
  placement.cache_dir = request.cache_dir;
  return placement;
}

std::optional<std::string> cudnn_warning(std::optional<int64_t> version) {
  constexpr int64_t kGood = 91500;
  if (version && *version >= kGood) return std::nullopt;
  // 8902 is 8.9.2: before 9 there were two digits less.
  const int64_t unit = version.value_or(0) < 10000 ? 1000 : 10000;
  const std::string found = version ? "cuDNN " + std::to_string(*version / unit) + "." +
                                          std::to_string(*version % unit / 100) + "." + std::to_string(*version % 100) +
                                          " is older than 9.15: 3-D convolutions of the VAE"
                                    : "libtorch has no cuDNN: convolutions of the VAE";
  return found + " may be slow and take more memory; in 16 bits each is compared with float32 on its first use";
}

void warn_of_cudnn(const Placement& placement, const Log& log) {
  if (!placement.device.is_cuda()) return;
  const at::CUDAHooksInterface& hooks = at::detail::getCUDAHooks();
  const auto version = hooks.hasCuDNN() ? std::optional<int64_t>(hooks.versionRuntimeCuDNN()) : std::nullopt;
  if (const auto text = cudnn_warning(version)) log("warning", {{"text", *text}});
}

uint64_t available_memory(at::Device device) {
  if (device.is_cuda()) return c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first;
  return host_available();
}

uint64_t peak_memory(at::Device device) {
  if (!device.is_cuda()) return proc_kilobytes("/proc/self/status", "VmHWM:").value_or(0);
  auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return stats.reserved_bytes[size_t(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

void release_cached(at::Device device) {
  if (!device.is_cuda()) return;
  try {
    c10::getDeviceAllocator(device.type())->emptyCache();
  } catch (const c10::Error& error) {  // networks also go after the device was lost, which was told
    if (kernels::device_failure(error) != kernels::DeviceFailure::Lost) throw;
  }
}

}  // namespace wan
