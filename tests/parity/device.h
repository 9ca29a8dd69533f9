// Networks of a reference folder, placed for a run: on the CPU out of the mapped files, on CUDA copied to the card.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>

#include "models/weights/checkpoint.h"
#include "models/weights/scope.h"

namespace wan::parity {

/// Where and in which arithmetic a network runs.
struct Setting {
  at::Device device;
  at::ScalarType compute;
  const char* name;
};

/// float32 and float64 on the CPU: both must keep the limits of float32.
inline std::vector<Setting> exact_settings() {
  return {{at::kCPU, at::kFloat, "float32"}, {at::kCPU, at::kDouble, "float64"}};
}

/// bf16 on the CPU, and on the card where there is one.
inline std::vector<Setting> rounded_settings() {
  std::vector<Setting> settings = {{at::kCPU, at::kBFloat16, "bf16"}};
  if (at::globalContext().hasCUDA()) settings.push_back({at::Device(at::kCUDA, 0), at::kBFloat16, "bf16 on CUDA"});
  return settings;
}

/// Builds `Network` from the checkpoint at `path`; every tensor of the file must be used.
template <typename Network, typename... Arguments>
Network build(const std::filesystem::path& path, const Setting& setting, const Arguments&... arguments) {
  Weights weights(Checkpoint::open(path), Place::on(setting.device, setting.compute));
  Network network(weights.root(), arguments..., setting.compute);
  weights.finish();
  return network;
}

}  // namespace wan::parity
