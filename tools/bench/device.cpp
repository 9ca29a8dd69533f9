#include "tools/bench/device.h"

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/headeronly/version.h>

#include <cstdlib>
#include <deque>

#include "kernels/op/device.h"
#include "tools/bench/child.h"

#ifdef WAN_CUDA_KERNELS
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "tools/bench/ceiling_kernels.h"
#endif

namespace wan::bench {

bool has_device() {
  return kernels::kFusedBuilt && at::hasCUDA();
}

namespace {

/// The first card that CUDA shows, as nvidia-smi names it: a number, GPU-... or MIG-...
std::string first_card() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::string names = visible ? visible : "";
  return names.empty() ? "0" : names.substr(0, names.find(','));
}

std::string nvidia_smi(const std::string& query) {
  try {
    ChildResult result = run_child(
        {"nvidia-smi", "--id=" + first_card(), "--format=csv,noheader", "--query-gpu=" + query}, /*quiet=*/true);
    while (!result.out.empty() && result.out.back() == '\n') result.out.pop_back();
    return result.status == 0 ? result.out : "unknown";
  } catch (const std::runtime_error&) {
    return "unknown";
  }
}

}  // namespace

std::string device_clocks() {
  return nvidia_smi("clocks.sm,clocks.mem,power.draw,power.limit,temperature.gpu");
}

#ifdef WAN_CUDA_KERNELS

Stopwatch device_stopwatch(const Effort& effort) {
  const auto milliseconds = [](const std::function<void()>& work) {
    c10::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
    begin.record();
    work();
    end.record();
    end.synchronize();
    return double(begin.elapsed_time(end));
  };
  using c10::CachingDeviceAllocator::DeviceStats;
  return {milliseconds, effort, [] { c10::cuda::CUDACachingAllocator::resetPeakStats(0); },
          [] {
            const DeviceStats stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
            return double(stats.allocated_bytes[0].peak);
          }};
}

namespace {

class EventMarks : public Marks {
 public:
  size_t mark() override {
    events_.emplace_back(cudaEventDefault).record();
    return events_.size() - 1;
  }
  std::vector<double> milliseconds() override {
    std::vector<double> all;
    if (events_.empty()) return all;
    events_.back().synchronize();
    for (const c10::cuda::CUDAEvent& event : events_) all.push_back(events_[0].elapsed_time(event));
    return all;
  }

 private:
  std::deque<c10::cuda::CUDAEvent> events_;  // they stay where they are
};

}  // namespace

std::unique_ptr<Marks> device_marks() {
  return std::make_unique<EventMarks>();
}

std::map<std::string, std::string> device_environment() {
  if (!has_device()) return {};
  int driver = 0, runtime = 0;
  cudaDeviceProp properties;
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
  C10_CUDA_CHECK(cudaDriverGetVersion(&driver));
  C10_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  const at::CUDAHooksInterface& hooks = at::detail::getCUDAHooks();
  return {{"gpu", properties.name},
          {"compute_capability", std::to_string(properties.major) + "." + std::to_string(properties.minor)},
          {"memory_bytes", std::to_string(properties.totalGlobalMem)},
          {"driver", nvidia_smi("driver_version") + ", CUDA " + std::to_string(driver)},
          {"cuda", std::to_string(runtime)},
          {"cudnn", std::to_string(hooks.hasCuDNN() ? hooks.versionRuntimeCuDNN() : 0)},
          {"torch", TORCH_VERSION}};
}

std::vector<Probe> device_probes() {
  constexpr int kBlocks = 132 * 8, kRounds = 1, kPerThread = 1 << 14;
  constexpr int64_t kBytes = int64_t(16) << 20;  // a third of the H200's second-level cache
  const at::TensorOptions floats = at::TensorOptions(at::kCUDA).dtype(at::kFloat);
  const auto stream = [] { return c10::cuda::getCurrentCUDAStream().stream(); };
  return {{"l2_read", double(kBytes) * kRounds * kBlocks,
           [=]() -> Launch {
             const Tensor data = at::zeros({kBytes / 4}, floats), out = at::zeros({1}, floats);
             return [=](size_t) {
               C10_CUDA_CHECK(
                   launch_l2_read(data.data_ptr(), kBytes / 16, kRounds, kBlocks, out.data_ptr<float>(), stream()));
             };
           }},
          {"exp", double(kPerThread) * 256 * kBlocks, [=]() -> Launch {
             const Tensor out = at::zeros({1}, floats);
             return [=](size_t) {
               C10_CUDA_CHECK(launch_exponentials(kPerThread, kBlocks, out.data_ptr<float>(), stream()));
             };
           }}};
}

#else

std::unique_ptr<Marks> device_marks() {
  return clock_marks();
}
Stopwatch device_stopwatch(const Effort& effort) {
  return {wall_milliseconds, effort};
}
std::map<std::string, std::string> device_environment() {
  return {};
}
std::vector<Probe> device_probes() {
  return {};
}

#endif

}  // namespace wan::bench
