#include <ATen/ATen.h>
#include <c10/cuda/CUDAMacros.h>

#include <array>
#include <atomic>

#include "kernels/op/binding.h"
#include "kernels/op/cuda.h"

namespace wan::kernels::cuda {

bool has_kernels(at::Device device) {
  enum : int8_t { Unknown, No, Yes };
  static std::array<std::atomic<int8_t>, C10_COMPILE_TIME_MAX_GPUS> known;
  std::atomic<int8_t>& state = known.at(size_t(device.index()));
  if (state == Unknown) {
    const c10::cuda::CUDAGuard guard(device);
    state = current_card_has_image() ? Yes : No;
  }
  return state == Yes;
}

}  // namespace wan::kernels::cuda
