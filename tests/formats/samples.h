// What the tests of samples share: where they are, what their index says, and closeness as it states it.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace wan {

/// The folder of samples: this one, or WAN_FORMATS.
std::filesystem::path samples();
/// All files of the index whose names begin with `folder`: an object of them.
nlohmann::json sample_entries(const std::string& folder);
/// Expects equal sizes (a list stands for any shape of one axis) and values within the entry's tolerances, in float64.
void expect_close(const at::Tensor& got, const at::Tensor& want, const nlohmann::json& entry, const std::string& name);

}  // namespace wan
