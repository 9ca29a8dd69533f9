// Kernels that no measurement chooses are compared with their reference when they are first used on a device.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <string>

#include "kernels/op/context.h"

namespace wan::kernels {

/// At most 16 indices into `count` rows from the first to the last, ascending, int64 on `device`.
at::Tensor spread_rows(int64_t count, at::Device device);

/// Throws c10::Error, naming the way out, where `error()` is more than `bound` or NaN; nothing where it returns
/// no value (broken input, say), so that the next use is asked again. Does nothing for an `op` and `shape` that has
/// agreed on this device before, in this Context: only the first use waits for the device.
void check_first_use(const char* op, const std::string& shape, at::Device device, double bound,
                     const std::function<std::optional<double>()>& error, const char* way_out, const Context& context);

/// The same for a kernel of ours: the error is the relative RMS of `got` from `want()`, not a number where only `got`
/// is not finite, and nothing where `want` is not.
void check_first_use(const char* op, const std::string& shape, at::Device device, double bound,
                     const std::function<at::Tensor()>& got, const std::function<at::Tensor()>& want,
                     const Context& context,
                     const char* way_out =
                         "--precision exact does without this kernel, WAN_KERNELS=reference is slow "
                         "and right");

}  // namespace wan::kernels
