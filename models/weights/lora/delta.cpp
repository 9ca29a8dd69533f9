// The arithmetic of differences: in float64, rounded once, so that float32 results are exact whatever the order of
// sums.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "models/files/error.h"
#include "models/weights/lora/file.h"
#include "models/weights/lora/product.h"

namespace wan::lora {
namespace {

/// Rows of a matrix, whatever comes after them joined: a kernel of a convolution as a matrix.
at::Tensor as_matrix(const at::Tensor& factor) {
  return factor.flatten(1);
}

/// Whether all values are finite as float32, in which they are used. The sum decides where it is finite, since a NaN or
/// an infinity would be in it; else each value does. libtorch has neither for floats of one byte.
bool is_finite(const at::Tensor& stored) {
  const bool as_float = stored.element_size() == 1 || stored.scalar_type() == at::kDouble;
  const at::Tensor values = as_float ? stored.to(at::kFloat) : stored;
  return std::isfinite(values.sum(at::kFloat).item<float>()) || values.isfinite().all().item<bool>();
}

/// Those in its first 4 KiB.
at::Tensor first_values(const at::Tensor& stored) {
  const int64_t most = 4096 / int64_t(stored.element_size());
  return stored.is_contiguous() ? stored.view({-1}).narrow(0, 0, std::min(most, stored.numel())) : stored;
}

/// The products of each column of a [N, r] with each of b [N, s], side by side: [N, r * s].
at::Tensor pairs(const at::Tensor& a, const at::Tensor& b) {
  return (a.unsqueeze(2) * b.unsqueeze(1)).flatten(1);
}

}  // namespace

void File::check_finite(const at::Tensor& values, const std::string& name) const {
  if (!is_finite(values))
    throw ModelError(label() + ": " + printable(name),
                     "must hold finite numbers, holds NaN, an infinity or a number too large for float32; do not use "
                     "this file");
}

/// As it lies in the file.
at::Tensor File::stored(const Difference& difference, Part part) const {
  const std::string& name = difference.factors.at(part);
  at::Tensor values = checkpoint_.map(name);
  check_finite(values, name);
  return values;
}

at::Tensor File::factor(const Difference& difference, Part part) const {
  return stored(difference, part).to(at::kDouble);
}

void File::check_finite(Reading reading) const {
  for (const Difference& difference : differences_)
    for (const auto& [part, name] : difference.factors) {
      const at::Tensor values = checkpoint_.map(name);
      check_finite(reading == Reading::Whole ? values : first_values(values), name);
    }
}

at::Tensor File::scaled(const Difference& difference, double strength) const {
  const Product product(*this, difference, at::kDouble);
  return product.rows(0, difference.shape[0]).mul(strength * difference.scale).reshape(difference.shape);
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
  const bool by_rows = difference.dora_by_rows;
  magnitude = by_rows ? magnitude.reshape({-1, 1}) : magnitude.reshape({1, -1});
  const at::Tensor norm = rows.norm(2, {by_rows ? 1 : 0}, /*keepdim=*/true) + std::numeric_limits<float>::epsilon();
  const at::Tensor ratio = magnitude / norm;
  return (rows * ((ratio - 1) * strength + 1)).view(sum.sizes()).to(at::kFloat);
}

std::optional<Factors> File::factors(const Difference& difference, double strength) const {
  const auto get = [&](Part part) { return as_matrix(stored(difference, part)).to(at::kFloat); };
  const double scale = strength * difference.scale;
  const int64_t rows = difference.shape[0], columns = difference.elements() / rows;
  if (difference.kind == Kind::LowRank) return Factors{get(Part::Up).mul(scale), get(Part::Down)};
  if (difference.kind != Kind::Hadamard) return std::nullopt;
  const at::Tensor first = get(Part::Hada1A), second = get(Part::Hada2A);
  if (!FactorSizes{rows, columns, first.size(1) * second.size(1)}.is_product()) return std::nullopt;
  return Factors{pairs(first, second).mul_(scale), pairs(get(Part::Hada1B).t(), get(Part::Hada2B).t()).t()};
}

Kronecker File::kronecker(const Difference& difference, double strength) const {
  const auto get = [&](const FactorSizes& sizes, Part whole, Part left, Part right) -> std::vector<at::Tensor> {
    const auto matrix = [&](Part part) { return as_matrix(factor(difference, part)); };
    if (sizes.is_product()) return {matrix(left), matrix(right)};
    return {sizes.rank > 0 ? matrix(left).matmul(matrix(right)) : matrix(whole)};
  };
  Kronecker made{get(difference.w1, Part::W1, Part::W1A, Part::W1B),
                 get(difference.w2, Part::W2, Part::W2A, Part::W2B)};
  made.first.front() = made.first.front() * (strength * difference.scale);
  return made;
}

}  // namespace wan::lora
