#include "kernels/op/first_use.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace wan::kernels {
namespace {

constexpr int64_t kRows = 16;

}  // namespace

at::Tensor spread_rows(int64_t count, at::Device device) {
  std::vector<int64_t> rows;
  const int64_t taken = std::min(count, kRows);
  for (int64_t i = 0; i < taken; ++i) rows.push_back(taken > 1 ? i * (count - 1) / (taken - 1) : 0);
  return at::tensor(rows, at::kLong).to(device);
}

void check_first_use(const char* op, const std::string& shape, at::Device device, double bound,
                     const std::function<std::optional<double>()>& error, const char* way_out, const Context& context) {
  const std::string name = op + (" " + shape) + " on " + device.str();
  if (context.has_agreed(name)) return;
  const std::optional<double> found = error();
  if (!found) return;
  TORCH_CHECK(*found <= bound, "[", name, "] must be within ", bound, " of its reference, differs by ", *found, "; ",
              way_out);
  context.set_agreed(name);
}

void check_first_use(const char* op, const std::string& shape, at::Device device, double bound,
                     const std::function<at::Tensor()>& got, const std::function<at::Tensor()>& want,
                     const Context& context, const char* way_out) {
  const auto error = [&]() -> std::optional<double> {
    const at::Tensor right = want().to(at::kDouble), difference = got().to(at::kDouble) - right;
    const at::Tensor sums = at::stack({right.square().sum(), difference.square().sum()}).sqrt().cpu();
    const double size = sums[0].item<double>(), distance = sums[1].item<double>();
    if (!std::isfinite(size)) return std::nullopt;
    return distance / std::max(size, 1e-30);
  };
  check_first_use(op, shape, device, bound, error, way_out, context);
}

}  // namespace wan::kernels
