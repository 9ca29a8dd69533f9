// --precision fp8 is taken where a linear of a transformer lies in E4M3, and refused where none does.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/residency/needs.h"
#include "models/weights/format/safetensors.h"
#include "tests/parts.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";

/// The matrices of the expert's blocks in E4M3 with scales, as such files have them; the rest as it was.
void write_scaled(const fs::path& expert) {
  const Checkpoint from = Checkpoint::open(expert);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& entry : from.tensors()) {
    const std::string& name = entry.first;
    const at::Tensor values = from.map(name).to(at::kFloat).contiguous();
    tensors[name] = values;
    const bool is_matrix = name.starts_with("blocks.") && name.ends_with(".weight") && values.dim() == 2;
    if (!is_matrix) continue;
    const std::string layer = name.substr(0, name.size() - std::string("weight").size());
    const at::Tensor scale = values.abs().amax() / 448;
    tensors[name] = (values / scale).to(at::kFloat8_e4m3fn);
    tensors[layer + "scale_weight"] = scale;
  }
  tensors["scaled_fp8"] = at::zeros({2}, at::kFloat8_e4m3fn);
  for (const auto& path : Checkpoint::paths(expert)) fs::remove(path);
  write_safetensors(expert / "diffusion_pytorch_model.safetensors", tensors);
}

/// The refusal; empty where it is taken.
std::string refusal(const ModelParts& parts, Precision precision, Kept weights, at::Device device) {
  Placement placement;
  placement.device = device;
  placement.dtype = device.is_cuda() ? at::kBFloat16 : at::kFloat;
  placement.precision = precision;
  placement.weights = weights;
  try {
    check_precision(parts, placement);
  } catch (const InvalidRequest& refused) {
    return refused.errors.at(0).line();
  }
  return "";
}

TEST(CheckPrecision, Fp8NeedsALinearInE4M3) {
  TemporaryFolder files;
  const std::string want =
      "[precision] must be exact where no linear lies in E4M3 with a scale for the matrix or each row, got 'fp8'; "
      "--weights fp8 makes such codes";
  const ModelParts floats = parts_of(kNano, Task::T2V);
  fs::copy(kNano, files / "one", fs::copy_options::recursive);
  write_scaled(files / "one/low_noise_model");
  const ModelParts one = parts_of(files / "one", Task::T2V);
  for (const at::Device device : {at::Device(at::kCPU), at::Device(at::kCUDA, 0)}) {  // sizes need no device
    SCOPED_TRACE(device.str());
    EXPECT_EQ(refusal(floats, Precision::Fp8, Kept::Stored, device), want);
    EXPECT_EQ(refusal(floats, Precision::Fp8, Kept::Int8, device), want);
    EXPECT_EQ(refusal(floats, Precision::Fp8, Kept::Fp8, device), "");
    EXPECT_EQ(refusal(floats, Precision::Exact, Kept::Stored, device), "");
    EXPECT_EQ(refusal(floats, Precision::Fast, Kept::Stored, device), "");
    EXPECT_EQ(refusal(one, Precision::Fp8, Kept::Stored, device), "") << "one expert is enough";
    EXPECT_EQ(refusal(one, Precision::Fp8, Kept::Bf16, device), want) << "its codes are widened";
  }
}

}  // namespace
}  // namespace wan
