// Whether this build holds machine code for a card. Seen by .cu files: no torch header.
#pragma once

#include <cuda_runtime_api.h>

#include <optional>

namespace wan::kernels {

/// What CUDA says of this build's code for the current device: cudaSuccess where it holds some. Leaves no error behind.
cudaError_t card_image_status();

/// Whether there is code, from that status: not below sm_80, not where the build was made for other architectures, and
/// not without a driver or a card. Nothing where the status is about something else: no memory to load the code, a
/// device that is lost.
inline std::optional<bool> has_image(cudaError_t status) {
  switch (status) {
    case cudaSuccess:
      return true;
    case cudaErrorStubLibrary:
    case cudaErrorInsufficientDriver:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNoDevice:
    case cudaErrorInvalidKernelImage:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidPtx:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilationDisabled:
      return false;
    default:
      return std::nullopt;
  }
}

}  // namespace wan::kernels
