// RIFE against cases of tests/oracle/interpolation: every stored flow, mask, feature and picture. The folder of the
// cases is WAN_INTERPOLATION; without it one row says that this was skipped.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "models/rife/model.h"
#include "models/weights/scope.h"
#include "tests/support.h"

namespace wan::parity {
namespace {

namespace fs = std::filesystem;

/// All case_*.json of RIFE; a single empty path where the folder is not named.
std::vector<fs::path> cases() {
  const char* const folder = std::getenv("WAN_INTERPOLATION");
  if (!folder || !*folder) return {fs::path()};
  std::vector<fs::path> found;
  std::error_code absent;
  for (const auto& network : fs::directory_iterator(folder, absent)) {
    if (!network.path().filename().string().starts_with("rife")) continue;
    for (const auto& file : fs::directory_iterator(network.path(), absent))
      if (file.path().extension() == ".json") found.push_back(file.path());
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) found.push_back(fs::path(folder));
  return found;
}

std::string test_name(const testing::TestParamInfo<fs::path>& info) {
  std::string name = info.param.parent_path().filename().string() + "_" + info.param.stem().string();
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

const std::map<std::string, rife::Version> kVersions = {{"4.0", rife::Version::V4_0},   {"4.6", rife::Version::V4_6},
                                                        {"4.7", rife::Version::V4_7},   {"4.13", rife::Version::V4_13},
                                                        {"4.20", rife::Version::V4_13}, {"4.25", rife::Version::V4_25},
                                                        {"4.26", rife::Version::V4_26}};

/// The network of a case's file, of published widths or narrower ones, which no release has.
rife::Architecture architecture(const Checkpoint& checkpoint, const std::string& version, bool published) {
  const auto size = [&](const std::string& name) {
    const auto found = checkpoint.tensors().find(name);
    return found == checkpoint.tensors().end() ? 0 : found->second.shape[0];
  };
  rife::Architecture found{kVersions.at(version), {}, size("encode.0.weight") + size("encode.cnn0.weight")};
  while (const int64_t width = size("block" + std::to_string(found.widths.size()) + ".conv0.1.0.weight"))
    found.widths.push_back(width);
  if (!published) return found;
  const rife::Architecture told = rife::architecture_of(checkpoint.tensors(), checkpoint.label());
  EXPECT_EQ(told.version, found.version);
  EXPECT_EQ(told.widths, found.widths);
  EXPECT_EQ(told.head_width, found.head_width);
  return told;
}

class RifeCase : public testing::TestWithParam<fs::path> {
 protected:
  void SetUp() override {
    if (GetParam().empty())
      GTEST_SKIP()
          << "WAN_INTERPOLATION is not set: it names the folder that tests/oracle/interpolation/cases.py wrote";
    ASSERT_EQ(GetParam().extension(), ".json") << "no case of RIFE in this folder";
    folder_ = GetParam().parent_path();
    std::ifstream in(GetParam());
    json_ = nlohmann::json::parse(in);
    const Checkpoint data = Checkpoint::open(fs::path(GetParam()).replace_extension(".safetensors"));
    for (const auto& [name, stored] : data.tensors()) tensors_[name] = data.map(name).clone();
  }

  rife::Model build(const std::string& file, const rife::Options& options) const {
    Weights weights(Checkpoint::open(folder_ / file));
    const bool published =
        !json_.at("case").get<std::string>().ends_with("small") && json_.at("case") != "rife40_restart";
    const rife::Architecture told = architecture(weights.checkpoint(), json_.at("version"), published);
    if (!published) {
      for (const char* other : {"teacher.", "block_tea.", "caltime.", "contextnet.", "unet."}) weights.ignore(other);
      rife::Model model(weights.root(), told, options);
      weights.finish();
      return model;
    }
    rife::Model model(weights, options);
    weights.finish();
    return model;
  }

  void expect(const std::string& name, const at::Tensor& got) {
    const auto found = tensors_.find(name);
    ASSERT_NE(found, tensors_.end()) << name << " is not in the case";
    const double limit = json_.at("tensors").at(name).at("atol_fp32");
    const double worst = max_abs_difference(got, found->second);
    EXPECT_LE(worst, limit) << name;
    largest_ = std::max(largest_, worst / limit);
    seen_.insert(name);
  }

  static std::string text(double time) {
    std::ostringstream out;
    out << "t" << time;
    return out.str();
  }

  void compare(const rife::Model& model, const rife::Options& options) {
    const at::Tensor first = tensors_.at("first").to(options.dtype), second = tensors_.at("second").to(options.dtype);
    const rife::Frame a = model.frame(first), b = model.frame(second);
    if (model.architecture().features() > 0) expect("head0", a.features), expect("head1", b.features);
    for (const double time : json_.at("times").get<std::vector<double>>()) {
      const std::string at = text(time) + ".";
      const at::Tensor result = model.between(a, b, time, [&](size_t stage, const rife::Motion& motion) {
        const bool is_restart = stage == rife::kRestart;
        const std::string name = at + (is_restart ? "restart" : "stage" + std::to_string(stage)) + ".";
        expect(name + "flow", rife::flow_of(motion));
        expect(name + "mask", rife::mask_of(motion));
        if (is_restart) return;
        if (stage + 1 < model.architecture().widths.size()) {
          if (model.architecture().carried() > 0) expect(name + "carried", rife::carried_of(motion));
          return;
        }
        expect(at + "mask", rife::mask_of(motion).sigmoid());
        const auto [warped0, warped1] = rife::warped_of(a, b, motion);
        expect(at + "warped0", warped0), expect(at + "warped1", warped1);
      });
      expect(at + "result", result);
    }
  }

  /// Nothing in a case goes unchecked, but the refinement of 4.0, which is not served, and what the last stage hands on
  /// to none.
  void expect_all_seen() const {
    const std::string last = "stage" + std::to_string(json_.at("scales").size() - 1) + ".carried";
    for (const auto& [name, tensor] : tensors_)
      EXPECT_TRUE(seen_.contains(name) || name == "first" || name == "second" || name.ends_with(".refined") ||
                  name.ends_with(last))
          << name << " was not checked";
  }

  fs::path folder_;
  nlohmann::json json_;
  std::map<std::string, at::Tensor> tensors_;
  std::set<std::string> seen_;
  double largest_ = 0;  // part of its limit that any difference was
};

TEST_P(RifeCase, HasEveryTensor) {
  const c10::InferenceMode inference;
  const std::vector<std::string> files = json_.at("weights");
  const double scale = json_.at("scale");
  for (const bool by_rows : {true, false})
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      SCOPED_TRACE(std::string(c10::toString(dtype)) + (by_rows ? " by rows" : " on whole pictures"));
      const rife::Options options{.dtype = dtype, .scale = scale, .by_rows = by_rows};
      largest_ = 0;
      compare(build(files.back(), options), options);
      std::cout << "  " << c10::toString(dtype) << (by_rows ? " by rows" : " on whole pictures")
                << ": the largest difference is " << largest_ << " of its limit\n";
    }
  expect_all_seen();
}

TEST_P(RifeCase, IsTheSameFromEveryFormOfItsFile) {
  const c10::InferenceMode inference;
  const rife::Options options{.scale = json_.at("scale")};
  at::Tensor want;
  const std::vector<std::string> files = json_.at("weights");
  for (const std::string& file : files) {
    const rife::Model model = build(file, options);
    const at::Tensor got = model.between(model.frame(tensors_.at("first")), model.frame(tensors_.at("second")), 0.5);
    if (!want.defined()) want = got;
    EXPECT_TRUE(at::equal(got, want)) << file;
  }
}

INSTANTIATE_TEST_SUITE_P(Interpolation, RifeCase, testing::ValuesIn(cases()), test_name);

}  // namespace
}  // namespace wan::parity
