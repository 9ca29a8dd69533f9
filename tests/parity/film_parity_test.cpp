// FILM against cases of another implementation: folders with a network in each published form and what it computed,
// tensor by tensor. The folder of all cases is named by WAN_INTERPOLATION.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "models/film/model.h"
#include "models/recognise.h"
#include "tests/support.h"

namespace wan::parity {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> film_cases(const fs::path& folder) {
  std::vector<fs::path> cases;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().filename().string().starts_with("case_") && entry.path().extension() == ".json" &&
        entry.path().parent_path().filename().string().starts_with("film"))
      cases.push_back(entry.path());
  std::sort(cases.begin(), cases.end());
  return cases;
}

/// "t0.5", "t0.25", as tensors are named.
std::string name_of(double time) {
  std::ostringstream text;
  text << "t" << time;
  return text.str();
}

/// Everything that a case holds, compared with what the network of one file computes in `dtype`.
void compare(const fs::path& path, const std::string& weights_file, at::ScalarType dtype) {
  SCOPED_TRACE(path.string() + ", " + weights_file + ", " + c10::toString(dtype));
  const auto json = nlohmann::json::parse(std::ifstream(path));
  const Checkpoint file = Checkpoint::open(fs::path(path).replace_extension(".safetensors"));
  Weights weights(Checkpoint::open(path.parent_path() / weights_file), Place::on(at::kCPU, at::kFloat));
  EXPECT_EQ(recognise(weights.checkpoint().tensors()).name, "FILM frame interpolation");
  const film::Model network(weights, {.dtype = dtype});
  weights.finish();

  std::set<std::string> seen = {"first", "second"};
  const auto expect = [&](const std::string& name, const at::Tensor& got) {
    if (!file.tensors().contains(name)) return;
    seen.insert(name);
    const double atol = json.at("tensors").at(name).at("atol_fp32").get<double>();
    EXPECT_TRUE(is_close(got, file.map(name), atol)) << name;
  };
  const film::Frame first = network.frame(file.map("first").to(dtype)),
                    second = network.frame(file.map("second").to(dtype));
  for (const double time : json.at("times").get<std::vector<double>>()) {
    const at::Tensor result = network.between(first, second, time, [&](std::string_view name, const at::Tensor& value) {
      expect(std::string(name), value);
      expect(name_of(time) + "." + std::string(name), value);
    });
    expect(name_of(time) + ".result", result);
  }
  for (const auto& entry : file.tensors()) EXPECT_TRUE(seen.contains(entry.first)) << entry.first << " was not checked";
}

}  // namespace

TEST(Film, ComputesWhatItsCasesHold) {
  const char* folder = std::getenv("WAN_INTERPOLATION");
  if (!folder || !*folder) GTEST_SKIP() << "WAN_INTERPOLATION names no folder of cases";
  const c10::InferenceMode inference;
  const std::vector<fs::path> cases = film_cases(folder);
  EXPECT_FALSE(cases.empty()) << "no film*/case_*.json in " << folder;
  for (const fs::path& path : cases) {
    const auto json = nlohmann::json::parse(std::ifstream(path));
    for (const auto& file : json.at("weights").get<std::vector<std::string>>()) {
      compare(path, file, at::kFloat);
      compare(path, file, at::kDouble);
    }
  }
}

}  // namespace wan::parity
