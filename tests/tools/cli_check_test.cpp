// What `wan-infer check` says of its jobs.
#include "tools/cli/check_output.h"

#include <gtest/gtest.h>

#include <exception>

#include "engine/base/error.h"
#include "engine/request/safety.h"
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

TEST(CheckOutput, ErrorsOfAManifestsLineNameFields) {
  const ModelError error("--interpolator", "must hold the weights of FILM; --interpolator-model none does without");
  const auto said = [&](int64_t line) {
    const std::vector<CheckResult> results = {{line, "x.mp4", {}, std::make_exception_ptr(error)}};
    return to_text(results, "t2v") + to_json(results).dump();
  };
  EXPECT_EQ(said(4).find("--"), std::string::npos) << said(4);
  EXPECT_NE(said(4).find("[interpolator] must hold the weights of FILM; interpolator_model none"), std::string::npos);
  EXPECT_NE(said(0).find("[--interpolator] must hold"), std::string::npos) << said(0);
}

TEST(CheckOutput, TheLowestCodeCounts) {
  const CheckResult fits = {1, "a.mp4", {}, {}},
                    model = {2, "b.mp4", {}, std::make_exception_ptr(ModelError("c", "d"))},
                    request = {3, "c.mp4", {}, std::make_exception_ptr(InvalidRequest("seed", "is wrong"))};
  EXPECT_EQ(exit_code_of({fits}), 0);
  EXPECT_EQ(exit_code_of({fits, model}), 3);
  EXPECT_EQ(exit_code_of({model, request, fits}), 2);
  const CheckResult refused = {4, "d.mp4", {}, std::make_exception_ptr(SafetyRefusal("prompt", "has", "another", {}))};
  EXPECT_EQ(exit_code_of({refused, fits}), 5) << "as the render ends";
  EXPECT_EQ(exit_code_of({refused, model}), 3);
}

}  // namespace
}  // namespace wan
