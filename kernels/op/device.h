// Fused or reference: decided from the tensor, the build, the device and the options.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/op/built.h"
#include "kernels/op/context.h"

namespace wan::kernels {

/// Whether this build holds the CUDA kernels (nvcc was there). Without them the functions of namespace cuda are there
/// too, and take nothing.
#ifdef WAN_CUDA_KERNELS
inline constexpr bool kFusedBuilt = true;
#else
inline constexpr bool kFusedBuilt = false;
#endif

/// True for a tensor on a GPU that takes no part in a gradient, unless the options ask for the reference: what
/// libraries have fused may run, on any card.
bool use_libraries(const at::Tensor& x, const Context& context = default_context());
/// The same, on a card for which this build holds kernels (sm_80 and newer).
bool use_fused(const at::Tensor& x, const Context& context = default_context());

namespace cuda {

/// The oldest architecture with e4m3, and one of those whose mma.sync multiplies it at its own speed.
inline constexpr int kFloat8Architecture = 89;

/// Whether this build's kernels run on `device`, a GPU with an index; asked of the driver once for each.
bool has_kernels(at::Device device);
/// 10 * major + minor of a GPU's compute capability: 89 and newer take 8-bit floats, 90 alone has wgmma. Without an
/// index the current GPU is meant. 0 in a build without kernels.
int architecture(at::Device device);
bool has_wgmma(at::Device device);
/// What linear_int8 and attention_int8 multiply with: wgmma on sm_90 where it is on (options.h). Any device.
Instructions instructions_on(at::Device device, const Context& context = default_context());
/// Whether mma.sync multiplies 8-bit floats at their own speed: on sm_89, sm_120 and newer. On sm_90 and on Blackwell of
/// data centres (sm_100) the compiler converts them to 16 bits first.
bool has_float8_mma(at::Device device);
/// Whether the device multiplies 8-bit floats at their own speed: with mma.sync, and with wgmma where instructions_on
/// says so.
bool multiplies_float8(at::Device device, const Context& context = default_context());

}  // namespace cuda
}  // namespace wan::kernels
