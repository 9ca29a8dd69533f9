#include "engine/residency/probed_machine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <chrono>

#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/residency/host_memory.h"
#include "engine/residency/usable_card.h"
#include "kernels/op/card_name.h"

namespace wan {

namespace {

// What one core of a server's processor reaches in float32 products, and a memory with four channels.
constexpr double kCoreFlops = 40e9, kHostBandwidth = 40e9;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

at::Tensor host_buffer(int64_t bytes, bool pinned) {
  try {
    return at::ones({bytes}, at::TensorOptions(at::kByte).pinned_memory(pinned));
  } catch (const c10::Error&) {  // pinned memory refused
    return at::ones({bytes}, at::kByte);
  }
}

std::string percent(double share) {
  return std::to_string(int64_t(share * 100 + 0.5)) + " %";
}

void probe_card(Machine& machine, at::Device device, bool measure) {
  const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  machine.device_free = free;
  machine.device_total = total;
  machine.has_display = display_on_nvidia();
  machine.budget = budget_of(free, machine.has_display);
  // By its device: of two kinds of cards the system's list does not say which one this is.
  std::string name = kernels::cuda::card_name(device);
  if (name.empty()) name = nvidia_name("");
  const double share = mig_share(name);
  const Card* known = name.empty() ? nullptr : card_named(name.substr(0, name.find(" MIG ")));
  const Card& card = known ? *known : card_of_size(uint64_t(double(total) / share));
  take_card(machine, slice_of(card, share));
  if (share < 1) machine.assumed.push_back("this slice of a card computes at " + percent(share) + " of its rates");
  machine.device = name.empty() ? device.str() : name;
  if (!known) machine.assumed.push_back("the card computes as fast as " + std::string(card.name));
  if (measure)
    set_link(machine, measured_link(device));
  else
    machine.assumed.push_back("the link carries " + rate_text(machine.link));
}

void probe_cpu(Machine& machine) {
  const int threads = at::get_num_threads();
  machine.device = "cpu";
  machine.linear = machine.host_linear;
  machine.linear8 = machine.linear;
  machine.attention = machine.linear / 2;
  machine.bandwidth = kHostBandwidth;
  machine.device_total = machine.device_free = machine.budget = machine.host_available;
  set_link(machine, kHostBandwidth / 4);
  machine.assumed.push_back("the processor computes " + std::to_string(int64_t(machine.linear / 1e9)) + " GFLOP/s on " +
                            std::to_string(threads) + (threads == 1 ? " thread" : " threads"));
}

}  // namespace

double measured_link(at::Device device) {
  constexpr int64_t kBytes = 64 << 20;
  constexpr int kTimes = 4;
  const at::Tensor from = host_buffer(kBytes, device.is_cuda()),
                   to = at::empty({kBytes}, from.options().device(device));
  to.copy_(from);  // the first copy pays for what later ones find ready
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kTimes; ++i) to.copy_(from);
  return double(kBytes) * kTimes / std::max(seconds_since(start), 1e-6);
}

Machine probed_machine(const Placement& placement, bool measure) {
  Machine machine;
  set_host(machine, host_available());
  machine.host_linear = at::get_num_threads() * kCoreFlops;
  if (placement.device.is_cuda())
    probe_card(machine, placement.device, measure);
  else
    probe_cpu(machine);
  if (!placement.budget) return machine;
  const uint64_t limit = placement.budget->limit();
  machine.budget = limit;
  machine.budget_field = placement.budget->field();
  machine.allowed = placement.allowed;
  if (machine.is_card) return machine;
  machine.is_card = machine.stands_in = true;
  machine.device = "cpu as a card";
  machine.device_total = machine.device_free = limit;
  set_host(machine, machine.host_available - std::min(machine.host_available, limit));
  return machine;
}

}  // namespace wan
