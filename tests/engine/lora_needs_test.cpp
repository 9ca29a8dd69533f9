// What LoRAs take beside a transformer, as it is planned.
#include "engine/request/params.h"
#include "engine/residency/find_parts.h"
#include "models/weights/lora/attach.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

class LoraNeeds : public DeviceMemory {
 protected:
  static constexpr const char* kTensor = "blocks.0.ffn.0.weight";
  static constexpr const char* kModule = "diffusion_model.blocks.0.ffn.0.";
  using Tensors = std::map<std::string, at::Tensor>;

  LoraNeeds() : expert(Checkpoint::open(kNano / "high_noise_model")) {
    const std::vector<int64_t>& shape = expert.tensors().at(kTensor).shape;
    out = shape[0];
    in = shape[1];
  }
  /// Bytes that a step takes with this LoRA more than without, beside the branches' own.
  uint64_t work_of(const Tensors& tensors) {
    const std::string path = (folder_ / "a.safetensors").string();
    Tensors named;
    for (const auto& [key, values] : tensors) named[kModule + key] = values;
    write_safetensors(path, named);
    const uint64_t with = denoise({{path, {1}, "both"}}),
                   branches = lora::attached_bytes(lora::File::open(path, expert.tensors(), {}), at::kFloat);
    return with - denoise({}) - branches;
  }
  uint64_t denoise(const std::vector<Lora>& loras) const {
    const Request wanted = request(Task::T2V, kNano, {{"loras", loras}});
    const Placement placement = resolve_placement(wanted);
    EXPECT_EQ(placement.dtype, at::kFloat);
    const Workload work = workload_of(wanted, find_parts(wanted), placement, false);
    tokens = uint64_t(work.extent.tokens());
    return activations_of(work).denoise;
  }

  const Checkpoint expert;
  int64_t out = 0, in = 0;
  mutable uint64_t tokens = 0;
};

TEST_F(LoraNeeds, WhatBranchesTakeWhileTheyComputeIsCounted) {
  Tensors low_rank = {{"lora_down.weight", at::ones({2, in})}, {"lora_up.weight", at::ones({out, 2})}};
  EXPECT_EQ(work_of(low_rank), 0u);
  low_rank["dora_scale"] = at::ones({out, 1});
  EXPECT_EQ(work_of(low_rank), 0u);
  low_rank["dora_scale"] = at::ones({1, in});
  const uint64_t rows = work_of(low_rank);
  EXPECT_EQ(rows, tokens * uint64_t(in + out) * 4);
  EXPECT_EQ(work_of({{"lokr_w1", at::ones({4, 4})}, {"lokr_w2", at::ones({out / 4, in / 4})}}),
            lora::kronecker_work_bytes(at::kFloat));
}

}  // namespace
}  // namespace wan
