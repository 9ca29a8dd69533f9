// What an error of libtorch says of the device that it came from.
#pragma once

#include <c10/util/Exception.h>

namespace wan::kernels {

enum class DeviceFailure {
  None,  // of the call alone: wrong arguments, a back end that does not take them
  Full,  // no memory for it now; with less on the device it may succeed
  Lost,  // this process can compute nothing more there: the card is gone, or a kernel broke the driver's context
};

/// From the error's type and CUDA's number. cuBLAS and cuDNN have errors of their own: of those the words for memory
/// are known, and None may still be of a device that is lost, which only the device itself tells.
DeviceFailure device_failure(const c10::Error& error);

}  // namespace wan::kernels
