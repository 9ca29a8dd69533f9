// What `wan-infer check` says of its jobs.
#include "tools/cli/check_output.h"

#include <gtest/gtest.h>

#include <exception>

#include "engine/base/error.h"
#include "models/files/error.h"

namespace wan {
namespace {

/// What is said of one job that fails so.
template <typename Error>
nlohmann::ordered_json errors_of(const Error& error) {
  const std::vector<CheckResult> results = {{0, "x.mp4", {}, std::make_exception_ptr(error)}};
  return to_json(results).at("jobs").at(0).at("errors");
}

TEST(CheckOutput, AnErrorOfAModelHasItsFileAsFieldWhateverThatIsCalled) {
  const nlohmann::ordered_json one = {{"field", "a] b/vae.pth"}, {"text", "is [cut] short; download it again"}};
  const nlohmann::ordered_json two = {{"field", "c"}, {"text", "is absent"}};
  const ModelError first("a] b/vae.pth", "is [cut] short; download it again");
  EXPECT_EQ(errors_of(first), nlohmann::ordered_json::array({one}));
  EXPECT_EQ(errors_of(ModelErrors({first, ModelError("c", "is absent")})), nlohmann::ordered_json::array({one, two}));
}

TEST(CheckOutput, TheLowestCodeCounts) {
  const CheckResult fits = {1, "a.mp4", {}, {}},
                    model = {2, "b.mp4", {}, std::make_exception_ptr(ModelError("c", "d"))},
                    request = {3, "c.mp4", {}, std::make_exception_ptr(InvalidRequest("seed", "is wrong"))};
  EXPECT_EQ(exit_code_of({fits}), 0);
  EXPECT_EQ(exit_code_of({fits, model}), 3);
  EXPECT_EQ(exit_code_of({model, request, fits}), 2);
}

}  // namespace
}  // namespace wan
