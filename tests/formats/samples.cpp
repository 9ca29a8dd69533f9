#include "tests/formats/samples.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace wan {

std::filesystem::path samples() {
  const char* other = std::getenv("WAN_FORMATS");
  return other && *other ? std::filesystem::path(other) : std::filesystem::path(WAN_SOURCE_DIR) / "tests/formats";
}

nlohmann::json sample_entries(const std::string& folder) {
  std::ifstream file(samples() / "index.json");
  const nlohmann::json index = nlohmann::json::parse(file);
  nlohmann::json found = nlohmann::json::object();
  for (const auto& [name, entry] : index.at("files").items())
    if (name.starts_with(folder + "/")) found[name] = entry;
  return found;
}

void expect_close(const at::Tensor& got, const at::Tensor& want, const nlohmann::json& entry, const std::string& name) {
  const double rtol = entry.value("rtol", 1e-6), atol = entry.value("atol", 0.0);
  ASSERT_EQ(got.numel(), want.numel()) << name;
  if (want.dim() != 1) {
    ASSERT_EQ(got.sizes(), want.sizes()) << name;
  }
  EXPECT_TRUE(at::allclose(got.to(at::kDouble).reshape({-1}), want.to(at::kDouble).reshape({-1}), rtol, atol,
                           /*equal_nan=*/true))
      << name;
}

}  // namespace wan
