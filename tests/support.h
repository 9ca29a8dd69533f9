// What tests share: closeness with a stated tolerance, temporary folders, the folder of golden cases.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace wan {

/// Largest absolute difference, in float64; infinity where shapes differ or either side holds a NaN.
double max_abs_difference(const at::Tensor& got, const at::Tensor& want);
/// sqrt(mean((got - want)^2) / mean(want^2)), in float64.
double relative_rms(const at::Tensor& got, const at::Tensor& want);

/// Passes where max_abs_difference is at most `atol`; the message names both, and the shapes.
testing::AssertionResult is_close(const at::Tensor& got, const at::Tensor& want, double atol);

/// A folder that is removed with its content at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace wan
