#include "kernels/linear/row_parts.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace wan::kernels {

int64_t rows_at_once(int64_t rows, int64_t in, int64_t out, int64_t limit) {
  const int64_t most = std::max<int64_t>(limit / std::max<int64_t>({in, out, 1}), 1);
  if (rows <= most) return std::max<int64_t>(rows, 1);
  const int64_t parts = (rows + most - 1) / most;
  return (rows + parts - 1) / parts;
}

Tensor linear_in_parts(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t part) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const Tensor rows = x.reshape({-1, weight.size(1)}), matrix = weight.to(x.scalar_type()).t();
  const Tensor out = at::empty({rows.size(0), weight.size(0)}, x.options());
  for (int64_t first = 0; first < rows.size(0); first += part) {
    const int64_t count = std::min(part, rows.size(0) - first);
    Tensor place = out.narrow(0, first, count);
    if (bias.defined())
      at::addmm_out(place, bias.to(x.scalar_type()), rows.narrow(0, first, count), matrix);
    else
      at::mm_out(place, rows.narrow(0, first, count), matrix);
  }
  return out.view(sizes);
}

}  // namespace wan::kernels
