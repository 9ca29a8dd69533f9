// The machine: which device and precision a request runs in, and how much memory there is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/base/log.h"
#include "engine/request/request.h"
#include "engine/residency/contexts.h"
#include "engine/residency/device_budget.h"
#include "models/weights/kept.h"
#include "models/weights/precision.h"

namespace wan {

/// Where a job computes and in which precision its matrix products run; `noise` is where the seed's generator lives.
struct Placement {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
  at::Device noise = at::kCPU;
  /// What the VAE begins in; a clip that leaves half's range is done again in float32 (engine/frames/vae_clip.h).
  at::ScalarType vae = at::kFloat;
  /// Of the transformers' blocks.
  Precision precision = Precision::Exact;
  /// Of the linears of text encoder and transformers.
  Kept weights = Kept::Stored;
  /// What the kernels on this device share. Never null: by itself it has the default options and chooses no attention.
  std::shared_ptr<kernels::Context> context = std::make_shared<kernels::Context>();
  /// What may be taken of the device. Null: weights are mapped on the CPU, and a GPU takes what it has.
  std::shared_ptr<DeviceBudget> budget = nullptr;
  /// What the user allows of the device (--device-memory), whatever is free.
  uint64_t allowed = UINT64_MAX;
  /// Where copies of float32 transformers are kept (engine/residency/weight_cache.h); empty: nowhere.
  std::filesystem::path cache_dir = {};
};

/// Resolves `auto`: the CUDA device that chosen_card (usable_card.h) takes, of several the first that our kernels run
/// on, with bf16; the CPU with float32 where there is none. Beside a bf16 transformer on CUDA the VAE runs in half: its
/// products keep as many bits as the TF32 in which the reference's run.
/// The kernels' Context is that of `contexts` for this device, where they are given.
/// Throws InvalidRequest where a CUDA device is asked for and none is usable.
/// Its budget is what the request allows (device_memory), on a GPU by default what is usable of what is free now. `hook` is
/// that of the budget. `look`: of tests, in place of the device's own; what it says is held under device_memory. On a CPU
/// that stands for a card nobody else takes of the budget: without `look` its limit stays.
Placement resolve_placement(const Request& request, Contexts* contexts = nullptr, DeviceBudget::Hook hook = {},
                            DeviceBudget::Look look = {});

/// What a user should know of a cuDNN of this version (91500 is 9.15), or of none; nothing from 9.15 on.
std::optional<std::string> cudnn_warning(std::optional<int64_t> version);
/// Logs it for the library that is here. Nothing on the CPU, whose convolutions are others.
void warn_of_cudnn(const Placement& placement, const Log& log);

/// Bytes a job could still take: MemAvailable capped by the cgroup's limit; on CUDA what the driver says is free.
uint64_t available_memory(at::Device device);
/// Bytes taken at most so far: resident set of the process, or the caching allocator's peak of reserved memory.
uint64_t peak_memory(at::Device device);
/// Gives cached blocks back to the driver. Nothing on the CPU.
void release_cached(at::Device device);

}  // namespace wan
