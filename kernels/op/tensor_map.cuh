// Tensor maps for the copy engine, made by the driver. For launchers alone.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>

#include "kernels/simt/sm90.h"

namespace wan::kernels {

static_assert(sizeof(simt::sm90::TensorMap) == sizeof(CUtensorMap) &&
                  alignof(simt::sm90::TensorMap) >= alignof(CUtensorMap),
              "the same bytes");

/// The driver's function is found through the runtime, so that nothing links libcuda.
struct DriverMaps {
  cudaError_t operator()(simt::sm90::TensorMap& to, const simt::sm90::TensorView& view) const {
    using simt::sm90::TensorView;
    void* found = nullptr;
    cudaDriverEntryPointQueryResult query;
    const cudaError_t status =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &query);
    if (status != cudaSuccess) return status;
    if (query != cudaDriverEntryPointSuccess) return cudaErrorNotSupported;
    cuuint64_t sizes[TensorView::kMaxRank], strides[TensorView::kMaxRank];
    cuuint32_t box[TensorView::kMaxRank], steps[TensorView::kMaxRank];
    for (int i = 0; i < view.rank; ++i) {
      sizes[i] = cuuint64_t(view.size[i]);
      box[i] = cuuint32_t(view.box[i]);
      steps[i] = 1;
      if (i > 0) strides[i - 1] = cuuint64_t(view.stride[i]);
    }
    // Nothing is converted, so the kind of 16-bit element does not matter.
    const CUtensorMapDataType type =
        view.element_bytes == 1 ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : CU_TENSOR_MAP_DATA_TYPE_UINT16;
    const CUtensorMapSwizzle swizzle =
        view.swizzle == simt::sm90::Swizzle::Bytes64 ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_128B;
    CUtensorMap map;
    const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found)(
        &map, type, cuuint32_t(view.rank), const_cast<void*>(view.data), sizes, strides, box, steps,
        CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    std::memcpy(&to, &map, sizeof map);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
  }
};

}  // namespace wan::kernels
