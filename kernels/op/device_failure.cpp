#include "kernels/op/device_failure.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <iterator>
#include <string_view>

namespace wan::kernels {
namespace {

/// After these every call of the process fails, or the device is not there.
constexpr cudaError_t kLost[] = {cudaErrorInitializationError, cudaErrorDevicesUnavailable,
                                 cudaErrorPriorLaunchFailure,  cudaErrorNoDevice,
                                 cudaErrorStartupFailure,      cudaErrorDeviceUninitialized,
                                 cudaErrorECCUncorrectable,    cudaErrorNvlinkUncorrectable,
                                 cudaErrorContained,           cudaErrorOperatingSystem,
                                 cudaErrorIllegalAddress,      cudaErrorLaunchTimeout,
                                 cudaErrorContextIsDestroyed,  cudaErrorAssert,
                                 cudaErrorHardwareStackError,  cudaErrorIllegalInstruction,
                                 cudaErrorMisalignedAddress,   cudaErrorInvalidAddressSpace,
                                 cudaErrorInvalidPc,           cudaErrorLaunchFailure,
                                 cudaErrorTensorMemoryLeak,    cudaErrorSystemNotReady,
                                 cudaErrorMpsConnectionFailed, cudaErrorMpsRpcFailure,
                                 cudaErrorMpsServerNotReady,   cudaErrorMpsClientTerminated,
                                 cudaErrorExternalDevice,      cudaErrorUnknown};

/// How libraries say that memory ran out. libtorch tries one engine of cuDNN after the other, takes want of memory for a
/// refusal, and says in the end that there is none.
constexpr std::string_view kFull[] = {"CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
                                      "CUDNN_STATUS_ALLOC_FAILED", "ALLOCATION_FAILED",
                                      "was unable to find an engine to execute this computation"};

template <typename Values, typename Test>
bool any_of(const Values& values, Test test) {
  return std::any_of(std::begin(values), std::end(values), test);
}

}  // namespace

DeviceFailure device_failure(const c10::Error& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error)) return DeviceFailure::Full;
  if (const auto* known = dynamic_cast<const c10::AcceleratorError*>(&error)) {
    const auto code = cudaError_t(known->get_error_code());
    if (code == cudaErrorMemoryAllocation) return DeviceFailure::Full;
    return any_of(kLost, [&](cudaError_t lost) { return lost == code; }) ? DeviceFailure::Lost : DeviceFailure::None;
  }
  const std::string_view text = error.what_without_backtrace();
  const bool full = any_of(kFull, [&](std::string_view words) { return text.find(words) != std::string_view::npos; });
  return full ? DeviceFailure::Full : DeviceFailure::None;
}

}  // namespace wan::kernels
