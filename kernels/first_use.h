// Kernels that no measurement chooses are compared with their reference when they are first used on a device.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

namespace wan::kernels {

/// At most 16 indices into `count` rows from the first to the last, ascending, int64 on `device`.
at::Tensor spread_rows(int64_t count, at::Device device);

/// Throws c10::Error where `got` is further than `bound` (relative RMS) from `want()`, or not finite where that is.
/// Does nothing for an `op` and `shape` that has agreed on this device before, in this process: only the first use
/// waits for the device.
void check_first_use(const char* op, const std::string& shape, at::Device device, double bound,
                     const std::function<at::Tensor()>& got, const std::function<at::Tensor()>& want);

}  // namespace wan::kernels
