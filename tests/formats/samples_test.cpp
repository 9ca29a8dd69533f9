// The samples of checkpoint formats in this folder, or another set of the same layout (WAN_FORMATS), by their index.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "models/weights/checkpoint.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

fs::path samples() {
  const char* other = std::getenv("WAN_FORMATS");
  return other && *other ? fs::path(other) : fs::path(WAN_SOURCE_DIR) / "tests/formats";
}

/// All files of the index whose names begin with `folder`.
nlohmann::json entries(const std::string& folder) {
  std::ifstream file(samples() / "index.json");
  const nlohmann::json index = nlohmann::json::parse(file);
  nlohmann::json found = nlohmann::json::object();
  for (const auto& [name, entry] : index.at("files").items())
    if (name.starts_with(folder + "/")) found[name] = entry;
  return found;
}

/// Values that a file's tensors must have, by their names. Those that are another program's way of rounding are left out.
std::map<std::string, at::Tensor> expected_values(const nlohmann::json& entry) {
  std::map<std::string, at::Tensor> values;
  if (entry.contains("tensors"))
    for (const auto& [name, want] : entry.at("tensors").items()) {
      std::vector<float> list;
      if (want.is_array())
        list = want.get<std::vector<float>>();
      else
        list = {want.get<float>()};
      values[name] = at::tensor(list);
    }
  if (!entry.contains("expected")) return values;
  const Checkpoint file = Checkpoint::open(samples() / entry.at("expected").get<std::string>());
  for (const auto& [name, tensor] : file.tensors())
    if (!name.ends_with(".bf16_path")) values[name] = file.map(name);
  return values;
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

void expect_loaded(const fs::path& path, const nlohmann::json& entry) {
  const Checkpoint file = Checkpoint::open(path);
  const auto want = expected_values(entry);
  EXPECT_EQ(file.tensors().size(), want.size());
  for (const auto& [name, values] : want) {
    ASSERT_TRUE(file.tensors().contains(name)) << name;
    expect_close(file.map(name), values, entry, name);
  }
}

/// Whether opening the file is refused, in one line that names it.
bool is_refused(const fs::path& path) {
  try {
    const Checkpoint file = Checkpoint::open(path);
    for (const auto& [name, tensor] : file.tensors()) file.map(name);
    return false;
  } catch (const ModelError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_NE(text.find(path.filename().string()), std::string::npos) << text;
    return true;
  }
}

class FormatSamples : public testing::TestWithParam<const char*> {};

}  // namespace

TEST_P(FormatSamples, GetTheirVerdictAndTheirValues) {
  const nlohmann::json files = entries(GetParam());
  ASSERT_FALSE(files.empty());
  for (const auto& [name, entry] : files.items()) {
    SCOPED_TRACE(name + ": " + entry.at("what").get<std::string>());
    const fs::path path = samples() / name;
    const std::string expect = entry.at("expect");
    if (expect == "load") {
      EXPECT_NO_THROW(expect_loaded(path, entry));
    } else if (expect == "refuse") {
      EXPECT_TRUE(is_refused(path));
    } else if (!is_refused(path) && expect == "load-or-refuse") {
      EXPECT_NO_THROW(expect_loaded(path, entry));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FormatSamples,
                         testing::Values("fp8", "gguf", "gguf_bad", "pickle", "pickle_bad", "safetensors_bad",
                                         "safetensors_ok"),
                         [](const auto& folder) { return std::string(folder.param); });

}  // namespace wan
