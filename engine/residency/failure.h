// Failures that no kind of ours describes, in words for a user.
#pragma once

#include <c10/core/Device.h>

#include <exception>
#include <stdexcept>
#include <string>

namespace wan {

/// This process can compute nothing more on its device: what() says so in one line, with the way to go on.
struct DeviceLost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Whether the error is that: DeviceLost, or libtorch's with CUDA's number (kernels/op/device_failure.h).
bool is_device_lost(const std::exception& error);
/// Whether memory of a device ran out, whoever noticed it.
bool is_device_full(const std::exception& error);
/// Waits for what was asked of the device, and returns whether all of it was done: false on one that is lost. True on
/// the CPU.
bool answers(at::Device device);
/// What DeviceLost says of an error of this device ("cuda:0").
std::string lost_text(const std::string& device, const std::exception& error);

/// What became of it, in one line: that memory ran out, whoever noticed it; that the device is lost; torch's message
/// without its backtrace; else what(). A library's document error is named as a bug, since each parser catches its own.
std::string text_of(const std::exception& error);

}  // namespace wan
