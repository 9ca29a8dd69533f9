#include "tests/parity/case.h"

#include <gtest/gtest.h>

#include <fstream>

#include "models/weights/checkpoint.h"
#include "tests/support.h"

namespace wan::parity {

Case::Case(const std::filesystem::path& folder, const std::string& name) : name(name), folder(folder) {
  std::ifstream in(folder / "cases" / (name + ".json"));
  json = nlohmann::json::parse(in);
  std::filesystem::path data = folder / "cases" / (name + ".safetensors");
  if (!std::filesystem::exists(data)) return;
  Checkpoint file = Checkpoint::open(data);
  for (const auto& [tensor, stored] : file.tensors()) tensors[tensor] = file.map(tensor).clone();
}

at::Tensor Case::input(const std::string& tensor) {
  seen_.insert(tensor);
  auto found = tensors.find(tensor);
  if (found == tensors.end()) throw std::runtime_error("case " + name + " has no tensor " + tensor);
  return found->second;
}

void Case::expect(const std::string& tensor, const at::Tensor& got, double fallback_atol) {
  if (!has(tensor)) return;
  seen_.insert(tensor);
  const at::Tensor& want = tensors.at(tensor);
  nlohmann::json info = json.value("tensors", nlohmann::json::object()).value(tensor, nlohmann::json::object());
  double atol = want.is_floating_point() ? info.value("atol_fp32", fallback_atol) : 0;
  EXPECT_TRUE(is_close(got, want, atol)) << name << ": " << tensor;
}

void Case::expect_bf16(const std::string& tensor, const at::Tensor& got) {
  if (!has(tensor)) return;
  seen_.insert(tensor);
  const nlohmann::json& info = json.at("tensors").at(tensor);
  if (!info.contains("bf16_emulation_vs_f64_rel_rms")) return;
  double limit = std::max(3 * info["bf16_emulation_vs_f64_rel_rms"].get<double>(), 1e-5);
  EXPECT_LE(relative_rms(got, tensors.at(tensor)), limit) << name << ": " << tensor << " in bf16";
}

std::filesystem::path Case::checkpoint() const {
  const std::filesystem::path given = json.value("checkpoint", "Wan2.2-T2V-A14B");
  // Speech cases spell the path from the reference folder, the others the checkpoint's name.
  return *given.begin() == "checkpoints" ? folder / given : folder / "checkpoints" / given;
}

void Case::expect_all_seen() const {
  for (const auto& [tensor, value] : tensors)
    EXPECT_TRUE(seen_.count(tensor)) << name << ": " << tensor << " was not checked";
}

}  // namespace wan::parity
