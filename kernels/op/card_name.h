// What the driver calls a GPU.
#pragma once

#include <c10/core/Device.h>

#include <string>

namespace wan::kernels::cuda {

/// "NVIDIA GeForce RTX 4090", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"; of a device with an index. Empty in a build without
/// kernels.
std::string card_name(at::Device device);

}  // namespace wan::kernels::cuda
