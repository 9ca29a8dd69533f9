#include "models/weights/encode.h"

#include <ATen/ATen.h>

namespace wan {
namespace {

/// The largest magnitude that a code stands for.
double largest(kernels::Code code) {
  return code == kernels::Code::E4M3 ? 448 : 127;
}

}  // namespace

int64_t rotation_of(int64_t columns) {
  for (const int64_t order : {256, 64, 16, 4})
    if (columns % order == 0) return order;
  return 0;
}

kernels::CodedMatrix row_codes(kernels::Code code, int64_t rows, int64_t columns, at::Device device) {
  const at::TensorOptions options(device);
  return {.coding = &kernels::coding_of(code),
          .columns = columns,
          .codes = at::empty({rows, columns}, options.dtype(at::kByte)),
          .scale = at::empty({rows, 1}, options.dtype(at::kFloat)),
          .scale_columns = columns,
          .rotation = code == kernels::Code::Int8 ? rotation_of(columns) : 0};
}

void quantise_into(kernels::CodedMatrix& to, int64_t first, const at::Tensor& values) {
  const kernels::Code code = to.coding->code;
  const at::Tensor rotated = to.rotation ? kernels::regular_hadamard(values, to.rotation) : values;
  const at::Tensor scale = rotated.abs().amax(1, /*keepdim=*/true).div_(largest(code));
  // In units of the scale; rounding may leave them a little above the largest code. What is no number is one of the scale.
  const at::Tensor units = rotated.div(at::where(scale == 0, at::ones_like(scale), scale)).nan_to_num_(0);
  units.clamp_(-largest(code), largest(code));
  const at::Tensor codes = code == kernels::Code::E4M3 ? units.to(at::kFloat8_e4m3fn) : units.round_().to(at::kChar);
  to.codes.narrow(0, first, values.size(0)).copy_(codes.view(at::kByte));
  to.scale.narrow(0, first, values.size(0)).copy_(scale);
}

}  // namespace wan
