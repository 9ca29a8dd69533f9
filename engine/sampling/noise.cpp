#include "engine/sampling/noise.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

namespace wan {

// A generator of our own, so that nothing else that draws on the device moves it.
Noise::Noise(uint64_t seed, at::Device device)
    : device_(device),
      generator_(
          device.is_cpu()
              ? at::detail::createCPUGenerator(seed)
              : at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index())) {
  std::lock_guard<std::mutex> lock(generator_.mutex());
  generator_.set_current_seed(seed);
}

at::Tensor Noise::draw(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, generator_, at::TensorOptions().device(device_).dtype(dtype));
}

}  // namespace wan
