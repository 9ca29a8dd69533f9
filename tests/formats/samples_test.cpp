// The samples of checkpoint formats in this folder, or another set of the same layout (WAN_FORMATS), by their index.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "tests/formats/samples.h"
#include "tests/support/checkpoint_files.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

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

/// One list of values serves all pickles. That of Parameters, which torch makes of floats alone, holds no others.
std::map<std::string, at::Tensor> values_of(const fs::path& path, const nlohmann::json& entry) {
  std::map<std::string, at::Tensor> values = expected_values(entry);
  if (path.filename() == "zip_parameters.pth")
    std::erase_if(values, [](const auto& value) { return !value.second.is_floating_point(); });
  return values;
}

template <typename Tensors>
std::set<std::string> names_of(const Tensors& tensors) {
  std::set<std::string> names;
  for (const auto& entry : tensors) names.insert(entry.first);
  return names;
}

void expect_loaded(const fs::path& path, const nlohmann::json& entry) {
  const Checkpoint file = Checkpoint::open(path);
  const auto want = values_of(path, entry);
  ASSERT_EQ(names_of(file.tensors()), names_of(want));
  for (const auto& [name, values] : want) expect_close(file.map(name), values, entry, name);
}

/// Whether opening the file, or then reading a tensor, is refused, in one line that names the file and ends in a way out.
bool is_refused(const fs::path& path) {
  const std::string words = refusal_by([&] {
    const Checkpoint file = Checkpoint::open(path);
    for (const auto& [name, tensor] : file.tensors()) file.map(name);
  });
  if (words.empty()) return false;
  EXPECT_NE(words.find(path.filename().string()), std::string::npos) << words;
  EXPECT_NE(words.find("; "), std::string::npos) << words;
  return true;
}

class FormatSamples : public testing::TestWithParam<const char*> {};

}  // namespace

TEST_P(FormatSamples, GetTheirVerdictAndTheirValues) {
  const nlohmann::json files = sample_entries(GetParam());
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
