// What an error of libtorch says of its device.
#include "kernels/op/device_failure.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

namespace wan::kernels {
namespace {

DeviceFailure of_number(cudaError_t code) {
  return device_failure(c10::AcceleratorError({__func__, __FILE__, uint32_t(__LINE__)}, int32_t(code), "CUDA error"));
}

DeviceFailure of_words(const std::string& words) {
  return device_failure(c10::Error({__func__, __FILE__, uint32_t(__LINE__)}, words));
}

TEST(DeviceFailure, AfterSomeErrorsNothingMoreIsComputed) {
  for (cudaError_t code : {cudaErrorUnknown, cudaErrorIllegalAddress, cudaErrorLaunchFailure, cudaErrorECCUncorrectable,
                           cudaErrorNoDevice, cudaErrorAssert, cudaErrorMisalignedAddress, cudaErrorLaunchTimeout,
                           cudaErrorOperatingSystem, cudaErrorContextIsDestroyed, cudaErrorMpsClientTerminated})
    EXPECT_EQ(of_number(code), DeviceFailure::Lost) << code;
  for (cudaError_t code : {cudaErrorInvalidValue, cudaErrorInvalidConfiguration, cudaErrorNoKernelImageForDevice,
                           cudaErrorLaunchOutOfResources, cudaErrorNotSupported, cudaErrorInvalidDeviceFunction})
    EXPECT_EQ(of_number(code), DeviceFailure::None) << code;
}

TEST(DeviceFailure, MemoryRunsOutInManyWords) {
  EXPECT_EQ(of_number(cudaErrorMemoryAllocation), DeviceFailure::Full);
  EXPECT_EQ(device_failure(C10_BUILD_ERROR(OutOfMemoryError, "tried to allocate 40 GiB")), DeviceFailure::Full);
  for (const char* words :
       {"CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "FIND was unable to find an engine to execute this computation"})
    EXPECT_EQ(of_words(words), DeviceFailure::Full) << words;
  for (const char* words : {"expected a contiguous tensor", "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
                            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasLtMatmul`"})
    EXPECT_EQ(of_words(words), DeviceFailure::None) << words;
}

}  // namespace
}  // namespace wan::kernels
