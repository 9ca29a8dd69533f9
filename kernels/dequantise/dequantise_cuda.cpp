#include "kernels/dequantise/dequantise_cuda.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>

#include "kernels/dequantise/launch.h"
#include "kernels/linear/launch.h"
#include "kernels/op/binding.h"

namespace wan::kernels::cuda {
namespace {

ScaleElement scale_element_of(at::ScalarType dtype) {
  return dtype == at::kFloat            ? ScaleElement::Float
         : dtype == at::kFloat8_e8m0fnu ? ScaleElement::E8M0
                                        : ScaleElement::E4M3;
}

/// Without the rows and where they go.
WidenArguments arguments_of(const CodedMatrix& matrix) {
  WidenArguments a{};
  a.row_bytes = matrix.codes.size(1);
  a.columns = matrix.columns;
  if (matrix.scale.defined()) {
    a.scale = matrix.scale.const_data_ptr();
    a.scale_element = scale_element_of(matrix.scale.scalar_type());
    a.scales_a_row = matrix.scale.size(1);
    a.scale_rows = matrix.scale_rows;
    a.scale_columns = matrix.scale_columns;
  }
  a.factor = matrix.factor;
  a.rotation = int(matrix.rotation);
  return a;
}

}  // namespace

bool widen_rows(const CodedMatrix& matrix, int64_t first, const Tensor& out, const Context& context) {
  const int64_t count = out.size(0);
  if (!use_fused(matrix.codes, context) || matrix.rotation > kLargestRotation || !takes_dtype(out.scalar_type()))
    return false;
  if (out.device() != matrix.codes.device() || !out.is_contiguous() || !is_aligned(out)) return false;
  if (matrix.scale.defined() && matrix.columns > INT32_MAX - kLargestRotation) return false;
  if (count == 0) return true;
  if (count > INT32_MAX / (matrix.columns / kWidenChunk + 1)) return false;
  WidenArguments a = arguments_of(matrix);
  a.codes = matrix.codes.const_data_ptr<uint8_t>() + first * a.row_bytes;
  a.rows = count;
  a.first_row = first;
  a.out = out.data_ptr();
  a.element = element_of(out.scalar_type());
  launch_on(out, [&](cudaStream_t stream) { return launch_widen(a, matrix.coding->code, stream); });
  return true;
}

bool add_bias_gelu_(const Tensor& x, const Tensor& bias, const Context& context) {
  if (!takes_arrays(x, {bias}, context) || !takes_dtype(x.scalar_type())) return false;
  const BiasGeluArguments a{x.data_ptr(), bias.defined() ? bias.const_data_ptr() : nullptr, x.numel() / x.size(-1),
                            int(x.size(-1))};
  if (a.rows > INT32_MAX) return false;
  launch_on(x, [&](cudaStream_t stream) { return launch_bias_gelu(a, element_of(x.scalar_type()), stream); });
  return true;
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels: nothing is taken

namespace wan::kernels::cuda {

bool widen_rows(const CodedMatrix&, int64_t, const Tensor&, const Context&) {
  return false;
}
bool add_bias_gelu_(const Tensor&, const Tensor&, const Context&) {
  return false;
}

}  // namespace wan::kernels::cuda

#endif
