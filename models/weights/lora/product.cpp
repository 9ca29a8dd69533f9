#include "models/weights/lora/product.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <tuple>

namespace wan::lora {

Product::Product(const File& file, const Difference& difference, at::ScalarType dtype)
    : kind_(difference.kind), rows_(difference.shape[0]) {
  for (const auto& [part, name] : difference.factors)
    if (part != Part::DoraScale) factors_[part] = file.factor(difference, part).to(dtype);
  if (kind_ != Kind::Kronecker) return;
  for (const auto& [whole, left, right] :
       {std::tuple(Part::W1, Part::W1A, Part::W1B), {Part::W2, Part::W2A, Part::W2B}})
    if (!factors_.contains(whole)) factors_[whole] = matrix(left).matmul(matrix(right));
}

/// Of flattened factors: the kernel of a convolution is that of the second one.
at::Tensor Product::kronecker(int64_t first, int64_t count) const {
  const at::Tensor a = matrix(Part::W1), b = matrix(Part::W2);
  const at::Tensor row = at::arange(first, first + count, at::kLong), inner = row.remainder(b.size(0));
  const at::Tensor outer = (row - inner).floor_divide(b.size(0));
  return (a.index_select(0, outer).unsqueeze(2) * b.index_select(0, inner).unsqueeze(1)).flatten(1);
}

at::Tensor Product::rows(int64_t first, int64_t count) const {
  const auto rows = [&](Part left) { return matrix(left).narrow(0, first, count); };
  switch (kind_) {
    case Kind::LowRank:
      return rows(Part::Up).matmul(matrix(Part::Down));
    case Kind::Hadamard:
      return rows(Part::Hada1A).matmul(matrix(Part::Hada1B)).mul_(rows(Part::Hada2A).matmul(matrix(Part::Hada2B)));
    case Kind::Kronecker:
      return kronecker(first, count);
    case Kind::Full:
      return factors_.begin()->second.reshape({rows_, -1}).narrow(0, first, count);
  }
  throw std::logic_error("[lora] has no such kind");
}

}  // namespace wan::lora
