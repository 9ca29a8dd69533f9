#include "models/wan_s2v/tokens.h"

#include <ATen/ATen.h>

#include "kernels/rope/rope.h"

namespace wan {
namespace {

/// [t * y * x, 3] in token order.
Tensor positions(const std::vector<int64_t>& t, const std::vector<int64_t>& y, const std::vector<int64_t>& x) {
  return at::stack(at::meshgrid({at::tensor(t), at::tensor(y), at::tensor(x)}, "ij"), -1).reshape({-1, 3});
}

}  // namespace

FramePacker::FramePacker(const Scope& at, const WanConfig& config, at::ScalarType compute)
    : proj(at / "proj", config.out_dim, config.dim, {1, 2, 2}, compute),
      proj_2x(at / "proj_2x", config.out_dim, config.dim, {2, 4, 4}, compute),
      proj_4x(at / "proj_4x", config.out_dim, config.dim, {4, 8, 8}, compute) {}

Tensor FramePacker::operator()(const Tensor& motion) const {
  const int64_t missing = kMotionLatents - motion.size(1);
  TORCH_CHECK(missing >= 0, "[FramePacker] motion must have at most 19 latents, got ", motion.size(1));
  Tensor full = at::constant_pad_nd(motion, {0, 0, 0, 0, missing, 0});
  return at::cat({proj(full.narrow(1, 18, 1)), proj_2x(full.narrow(1, 16, 2)), proj_4x(full.narrow(1, 0, 16))}, 1);
}

std::vector<int64_t> spread(int64_t fine, int64_t coarse) {
  std::vector<int64_t> index(coarse);
  const double step = coarse > 1 ? double(fine - 1) / double(coarse - 1) : 0;
  for (int64_t i = 0; i < coarse; ++i) index[i] = int64_t(double(i) * step);
  if (coarse > 1) index.back() = fine - 1;  // linspace sets its end exactly
  return index;
}

Tensor motion_positions(int64_t rows, int64_t columns) {
  return at::cat({positions({-1}, spread(rows, rows), spread(columns, columns)),
                  positions({-3}, spread(rows, rows / 2), spread(columns, columns / 2)),
                  positions({-19, -14, -9, -4}, spread(rows, rows / 4), spread(columns, columns / 4))});
}

Tensor speech_positions(int64_t frames, int64_t rows, int64_t columns, bool motion) {
  Tensor reference = kernels::grid_positions(1, rows, columns);
  reference.select(1, 0).fill_(kReferenceTime);
  std::vector<Tensor> parts = {kernels::grid_positions(frames, rows, columns), reference};
  if (motion) parts.push_back(motion_positions(rows, columns));
  return at::cat(parts);
}

}  // namespace wan
