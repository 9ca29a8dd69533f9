#include "tests/support.h"

#include <cmath>
#include <limits>

namespace wan {

double max_abs_difference(const at::Tensor& got, const at::Tensor& want) {
  if (!got.defined() || !want.defined() || got.sizes() != want.sizes()) return std::numeric_limits<double>::infinity();
  if (got.numel() == 0) return 0;
  double worst = (got.to(at::kCPU, at::kDouble) - want.to(at::kCPU, at::kDouble)).abs().max().item<double>();
  return std::isnan(worst) ? std::numeric_limits<double>::infinity() : worst;
}

double relative_rms(const at::Tensor& got, const at::Tensor& want) {
  if (!got.defined() || got.sizes() != want.sizes()) return std::numeric_limits<double>::infinity();
  at::Tensor reference = want.to(at::kCPU, at::kDouble);
  double error = (got.to(at::kCPU, at::kDouble) - reference).square().mean().item<double>();
  double ratio = std::sqrt(error / std::max(reference.square().mean().item<double>(), 1e-60));
  return std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio;
}

testing::AssertionResult is_close(const at::Tensor& got, const at::Tensor& want, double atol) {
  if (!got.defined()) return testing::AssertionFailure() << "no tensor came";
  double worst = max_abs_difference(got, want);
  if (worst <= atol) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "worst difference " << worst << ", limit " << atol << ", shapes " << got.sizes()
                                     << " and " << want.sizes();
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / ("wan-test-" + std::string(6, 'X'))).string();
  if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder: " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace wan
