// What the driver calls a GPU, and what a measurement on it holds for.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

namespace wan::kernels::cuda {

/// "NVIDIA GeForce RTX 4090", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"; of a device with an index. Empty in a build without
/// kernels.
std::string card_name(at::Device device);

/// A card and all that times and choices on it depend on, but for this program.
struct MeasuredCard {
  std::string name;      // as card_name
  int architecture = 0;  // 90
  std::string torch;     // "2.11.0"
  int64_t cudnn = 0;     // 91900; 0: none
  int driver = 0;        // the newest CUDA that it runs: 13000
};
/// "NVIDIA H200 sm_90, torch 2.11.0, cuDNN 91900, driver 13000".
std::string text_of(const MeasuredCard& card);

}  // namespace wan::kernels::cuda
