#include "kernels/int8_linear_sm90.cuh"

#include <cuda.h>

#include <cstring>

namespace wan::kernels {
namespace {

using int8_linear_sm90::TensorMap;
static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap), "the same bytes");

/// The map of codes [rows, depth] in boxes of box_rows by 128 bytes. The driver makes it; libcuda is found through the
/// runtime, so that nothing links it.
cudaError_t encode(TensorMap* to, const int8_t* codes, int rows, int depth, int box_rows) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult query;
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &query);
  if (status != cudaSuccess) return status;
  if (query != cudaDriverEntryPointSuccess) return cudaErrorNotSupported;
  CUtensorMap map;
  const cuuint64_t sizes[2] = {cuuint64_t(depth), cuuint64_t(rows)}, stride[1] = {cuuint64_t(depth)};
  const cuuint32_t box[2] = {int8_linear_sm90::kDepth, cuuint32_t(box_rows)}, steps[2] = {1, 1};
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found)(
      &map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<int8_t*>(codes), sizes, stride, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  std::memcpy(to, &map, sizeof map);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_int8_linear_sm90(const Int8LinearArguments& linear, Element element, cudaStream_t stream) {
  namespace own = int8_linear_sm90;
  own::Arguments a{};
  a.linear = linear;
  cudaError_t status = encode(&a.x, linear.x, linear.rows, linear.depth, own::kRows);
  if (status != cudaSuccess) return status;
  status = encode(&a.weight, linear.weight, linear.channels, linear.depth, own::kColumns);
  if (status != cudaSuccess) return status;
  int device = 0, processors = 0;
  status = cudaGetDevice(&device);
  if (status != cudaSuccess) return status;
  status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (status != cudaSuccess) return status;
  const int tiles =
      (linear.rows + own::kRows - 1) / own::kRows * ((linear.channels + own::kColumns - 1) / own::kColumns);
  auto* kernel =
      element == Element::Half ? own::int8_linear_sm90_kernel<__half> : own::int8_linear_sm90_kernel<simt::bf16>;
  return simt::StreamRunner{stream}(dim3(unsigned(tiles < processors ? tiles : processors)), own::kThreads,
                                    own::kSharedBytes, kernel, a);
}

}  // namespace wan::kernels
