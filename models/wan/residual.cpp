#include "models/wan/residual.h"

#include <ATen/ATen.h>

namespace wan {

Tensor residual_of(const Tensor& tokens, Tensor embedded, at::ScalarType dtype) {
  at::sub_out(embedded, tokens, embedded);
  return embedded.to(dtype);
}

Tensor with_residual(Tensor embedded, const Tensor& residual) {
  return embedded.add_(residual);
}

}  // namespace wan
