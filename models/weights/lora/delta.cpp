// The arithmetic of differences: in float64, rounded once, so that float32 results are exact whatever the order of sums.
#include <ATen/ATen.h>

#include <limits>
#include <stdexcept>

#include "models/files/error.h"
#include "models/weights/lora/file.h"

namespace wan::lora {
namespace {

/// Rows of a matrix, whatever comes after them joined: a kernel of a convolution as a matrix.
at::Tensor as_matrix(const at::Tensor& factor) {
  return factor.flatten(1);
}

}  // namespace

at::Tensor File::factor(const Difference& difference, Part part) const {
  const std::string& name = difference.factors.at(part);
  const at::Tensor values = checkpoint_.map(name).to(at::kDouble);
  if (!values.isfinite().all().item<bool>())
    throw ModelError(label() + ": " + printable(name),
                     "must hold finite numbers, holds some that are not; do not use this file");
  return values;
}

at::Tensor File::product(const Difference& difference) const {
  const auto has = [&](Part part) { return difference.factors.contains(part); };
  const auto get = [&](Part part) { return factor(difference, part); };
  switch (difference.kind) {
    case Kind::LowRank:
      return as_matrix(get(Part::Up)).matmul(as_matrix(get(Part::Down)));
    case Kind::Hadamard:
      return get(Part::Hada1A).matmul(get(Part::Hada1B)).mul_(get(Part::Hada2A).matmul(get(Part::Hada2B)));
    case Kind::Kronecker: {
      const at::Tensor first = has(Part::W1) ? get(Part::W1) : get(Part::W1A).matmul(get(Part::W1B));
      const at::Tensor second = has(Part::W2) ? get(Part::W2) : get(Part::W2A).matmul(get(Part::W2B));
      return at::kron(first, second);
    }
    case Kind::Full:
      return get(difference.factors.begin()->first);
  }
  throw std::logic_error("[lora] has no such kind");
}

at::Tensor File::scaled(const Difference& difference, double strength) const {
  return product(difference).mul(strength * difference.scale).reshape(difference.shape);
}

at::Tensor File::delta(const Difference& difference, double strength) const {
  if (difference.dora) throw std::logic_error("[" + difference.tensor + "] has no difference without its weight");
  return scaled(difference, strength).to(at::kFloat);
}

at::Tensor File::merged(const at::Tensor& base, const Difference& difference, double strength) const {
  const at::Tensor sum = base.to(at::kDouble) + scaled(difference, strength);
  if (!difference.dora) return sum.to(at::kFloat);
  const at::Tensor rows = as_matrix(sum);
  at::Tensor magnitude = factor(difference, Part::DoraScale);
  const bool by_rows = magnitude.numel() == rows.size(0);
  magnitude = by_rows ? magnitude.reshape({-1, 1}) : magnitude.reshape({1, -1});
  const at::Tensor norm = rows.norm(2, {by_rows ? 1 : 0}, /*keepdim=*/true) + std::numeric_limits<float>::epsilon();
  const at::Tensor ratio = magnitude / norm;
  return (rows * ((ratio - 1) * strength + 1)).view(sum.sizes()).to(at::kFloat);
}

}  // namespace wan::lora
