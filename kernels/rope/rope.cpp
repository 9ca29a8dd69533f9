#include "kernels/rope/rope.h"

#include <ATen/ATen.h>

#include "kernels/norm/norm.h"
#include "kernels/op/check.h"
#include "kernels/op/takes.h"
#include "kernels/op/work.h"
#include "kernels/rope/rope_cuda.h"

namespace wan::kernels {
namespace {

constexpr double kTheta = 10000;

void check_rope(const char* op, int64_t tokens, int64_t head_dim, const Rope& rope) {
  check_shape(op, "cos", rope.cos, {tokens, head_dim / 2});
  check_shape(op, "sin", rope.sin, {tokens, head_dim / 2});
}

}  // namespace

bool takes_rope(int64_t heads, int64_t head_dim, at::ScalarType dtype) {
  return takes_row(heads * head_dim, dtype) && head_dim % 2 == 0;
}

Rope make_rope(const Tensor& positions, int64_t head_dim, at::Device device, at::ScalarType dtype) {
  check_shape("make_rope", "positions", positions, {kAny, 3});
  TORCH_CHECK(head_dim >= 6 && head_dim % 2 == 0, "[make_rope] head_dim must be even and at least 6, got ", head_dim);
  const int64_t pairs = head_dim / 2, spatial = pairs / 3;
  Tensor place = positions.to(at::kCPU, at::kDouble);
  std::vector<Tensor> angles;
  int64_t axis = 0;
  for (int64_t width : {pairs - 2 * spatial, spatial, spatial}) {
    Tensor exponents = at::arange(width, at::kDouble) / double(-width);
    angles.push_back(place.select(1, axis++).unsqueeze(1) * at::pow(at::Scalar(kTheta), exponents));
  }
  Tensor angle = at::cat(angles, 1);
  return {angle.cos().to(device, dtype), angle.sin().to(device, dtype)};
}

Tensor grid_positions(int64_t frames, int64_t rows, int64_t columns) {
  auto axes =
      at::meshgrid({at::arange(frames, at::kLong), at::arange(rows, at::kLong), at::arange(columns, at::kLong)}, "ij");
  return at::stack(axes, -1).reshape({-1, 3});
}

Tensor apply_rope(const Tensor& x, const Rope& rope, const Context& context) {
  check_shape("apply_rope", "x", x, {kAny, kAny, kAny, kAny});
  check_rope("apply_rope", x.size(1), x.size(3), rope);
  const Range range("apply_rope", [&] { return pass_work({x, x}); });
  if (auto out = cuda::apply_rope(x, rope, context)) return *out;
  return reference::apply_rope(x, rope);
}

std::pair<Tensor, Tensor> qk_norm_rope(const Tensor& q, const Tensor& k, const Tensor& weight_q, const Tensor& weight_k,
                                       const Rope& rope, int64_t heads, double eps, const Context& context) {
  check_shape("qk_norm_rope", "q", q, {kAny, kAny, kAny});
  check_shape("qk_norm_rope", "k", k, q.sizes());
  TORCH_CHECK(heads > 0 && q.size(2) % heads == 0, "[qk_norm_rope] the width must be a multiple of ", heads,
              " heads, got ", q.size(2));
  check_shape("qk_norm_rope", "weight_q", weight_q, {q.size(2)});
  check_shape("qk_norm_rope", "weight_k", weight_k, {q.size(2)});
  check_rope("qk_norm_rope", q.size(1), q.size(2) / heads, rope);
  const Range range("qk_norm_rope", [&] { return pass_work({q, q, k, k}); });
  if (auto out = cuda::qk_norm_rope(q, k, weight_q, weight_k, rope, heads, eps, context)) return *out;
  return reference::qk_norm_rope(q, k, weight_q, weight_k, rope, heads, eps);
}

namespace reference {
namespace {

/// [1, L, 1, D / 2] complex factors cos + i sin.
Tensor factors(const Rope& rope, at::ScalarType dtype) {
  return at::complex(rope.cos.to(dtype), rope.sin.to(dtype)).unsqueeze(1).unsqueeze(0);
}

/// x [B, L, heads, D] float -> pairs (2j, 2j + 1) as complex numbers [B, L, heads, D / 2], without a copy.
Tensor as_pairs(const Tensor& x) {
  return at::view_as_complex(x.unflatten(-1, {-1, 2}));
}

Tensor norm_rope(const Tensor& x, const Tensor& weight, const Tensor& rotation, int64_t heads, double eps) {
  // The norm's result is ours alone, so it is rotated in place; it is rounded once, at the end.
  Tensor normed = rms_norm(x.to(accumulation(x.scalar_type())), weight, eps).unflatten(-1, {heads, -1});
  as_pairs(normed).mul_(rotation);
  return normed.to(x.scalar_type());
}

}  // namespace

Tensor apply_rope(const Tensor& x, const Rope& rope) {
  Tensor wide = x.to(accumulation(x.scalar_type())).contiguous();
  Tensor rotated = as_pairs(wide) * factors(rope, wide.scalar_type());
  return at::view_as_real(rotated).flatten(-2).to(x.scalar_type());
}

std::pair<Tensor, Tensor> qk_norm_rope(const Tensor& q, const Tensor& k, const Tensor& weight_q, const Tensor& weight_k,
                                       const Rope& rope, int64_t heads, double eps) {
  Tensor rotation = factors(rope, accumulation(q.scalar_type()));
  return {norm_rope(q, weight_q, rotation, heads, eps), norm_rope(k, weight_k, rotation, heads, eps)};
}

}  // namespace reference
}  // namespace wan::kernels
