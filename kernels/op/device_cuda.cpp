#include "kernels/op/device.h"

#include "kernels/op/card_name.h"

#ifdef WAN_CUDA_KERNELS

#include <c10/cuda/CUDAMacros.h>

#include <array>
#include <atomic>
#include <optional>

#include "kernels/op/binding.h"
#include "kernels/op/card_image.h"

namespace wan::kernels::cuda {

bool has_kernels(at::Device device) {
  enum : int8_t { Unknown, No, Yes };
  static std::array<std::atomic<int8_t>, C10_COMPILE_TIME_MAX_GPUS> known;
  std::atomic<int8_t>& state = known.at(size_t(device.index()));
  if (state == Unknown) {
    const c10::cuda::CUDAGuard guard(device);
    const cudaError_t status = card_image_status();
    const std::optional<bool> found = has_image(status);
    if (!found) C10_CUDA_CHECK(status);  // remembered is only what is about the code
    state = found.value_or(false) ? Yes : No;
  }
  return state == Yes;
}

int architecture(at::Device device) {
  const int index = device.has_index() ? device.index() : c10::cuda::current_device();
  int major = 0, minor = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
  return 10 * major + minor;
}

std::string card_name(at::Device device) {
  cudaDeviceProp properties;
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device.index()));
  return properties.name;
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels

namespace wan::kernels::cuda {

bool has_kernels(at::Device) {
  return false;
}

int architecture(at::Device) {
  return 0;
}

std::string card_name(at::Device) {
  return "";
}

}  // namespace wan::kernels::cuda

#endif
