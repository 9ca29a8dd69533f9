// Networks of a published layout at a size that a test can run, with random weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>

#include "models/weights/checkpoint.h"

namespace wan {

/// The tensors of `published` (see published_tensors) whose name `keep` takes, each size replaced by what `sizes` says
/// of it; float32 on the CPU, the same for equal `seed`. Matrices keep the scale of their input, norms are near one,
/// vectors small.
std::map<std::string, at::Tensor> small_weights(const std::string& published, const std::map<int64_t, int64_t>& sizes,
                                                const std::function<bool(const std::string&)>& keep, uint64_t seed);

/// Writes them as one safetensors file and opens it. The file must outlive what is built from it.
Checkpoint small_checkpoint(const std::filesystem::path& file, const std::map<std::string, at::Tensor>& tensors);

}  // namespace wan
