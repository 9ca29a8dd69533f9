// The safety checkers against what transformers computes: every hidden state at the published sizes, every published form of
// file. The folder of all cases is named by WAN_SAFETY.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "engine/frames/safety_input.h"
#include "tests/support/safety_case.h"

namespace wan::parity {
namespace {

namespace fs = std::filesystem;

TEST(SafetyCases, ComputeWhatTransformersDoes) {
  const char* folder = std::getenv("WAN_SAFETY");
  if (!folder || !*folder) GTEST_SKIP() << "WAN_SAFETY names no folder of cases";
  const c10::InferenceMode inference;
  std::vector<fs::path> cases;
  for (const auto& entry : fs::directory_iterator(folder))
    if (fs::exists(entry.path() / "case.json")) cases.push_back(entry.path());
  std::sort(cases.begin(), cases.end());
  EXPECT_EQ(cases.size(), 6u) << "in " << folder;
  for (const fs::path& path : cases) {
    SafetyCase golden(path);
    SCOPED_TRACE(path.string());
    for (const auto& file : golden.json.at("weights").get<std::vector<std::string>>())
      compare_network(golden, Checkpoint::open(path / file), file);
    const auto how = safety::Preprocessing::read(path / "preprocessor_config.json", golden.config);
    std::vector<at::Tensor> pixels;
    for (const at::Tensor& picture : golden.pictures()) pixels.push_back(safety_input(picture, how)[0]);
    golden.expect_equal("pixels", at::stack(pixels));
    (void)golden.input("resized");  // of which the pixels are made
    golden.expect_all_seen();
  }
}

}  // namespace
}  // namespace wan::parity
