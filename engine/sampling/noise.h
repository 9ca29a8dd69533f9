// Seeded noise: torch's generator on the device asked for.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace wan {

/// Draws in the order of the calls: MT19937 on the CPU, Philox on CUDA, as torch.Generator(device).manual_seed(seed)
/// does. The same seed gives other numbers on the other device.
class Noise {
 public:
  /// Throws c10::Error where the device has no generator.
  Noise(uint64_t seed, at::Device device);
  /// Standard normal values of `shape`, on the generator's device.
  at::Tensor draw(at::IntArrayRef shape, at::ScalarType dtype = at::kFloat);

 private:
  at::Device device_;
  at::Generator generator_;
};

}  // namespace wan
