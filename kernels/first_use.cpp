#include "kernels/first_use.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <set>

namespace wan::kernels {
namespace {

constexpr int64_t kRows = 16;

std::mutex mutex;

std::set<std::string>& agreed() {
  static std::set<std::string> names;
  return names;
}

bool has_agreed(const std::string& name) {
  const std::lock_guard lock(mutex);
  return agreed().contains(name);
}

}  // namespace

at::Tensor spread_rows(int64_t count, at::Device device) {
  std::vector<int64_t> rows;
  const int64_t taken = std::min(count, kRows);
  for (int64_t i = 0; i < taken; ++i) rows.push_back(taken > 1 ? i * (count - 1) / (taken - 1) : 0);
  return at::tensor(rows, at::kLong).to(device);
}

void check_first_use(const char* op, const std::string& shape, at::Device device, double bound,
                     const std::function<at::Tensor()>& got, const std::function<at::Tensor()>& want) {
  const std::string name = op + (" " + shape) + " on " + device.str();
  if (has_agreed(name)) return;
  const at::Tensor right = want().to(at::kDouble), difference = got().to(at::kDouble) - right;
  const double size = right.square().sum().sqrt().item<double>();
  const double error = difference.square().sum().sqrt().item<double>() / std::max(size, 1e-30);
  if (!std::isfinite(size)) return;  // of broken input nothing can be said
  TORCH_CHECK(error <= bound, "[", name, "] must be within ", bound, " of its reference, differs by ", error,
              "; --precision exact does without this kernel, WAN_KERNELS=reference is slow and right");
  const std::lock_guard lock(mutex);
  agreed().insert(name);
}

}  // namespace wan::kernels
