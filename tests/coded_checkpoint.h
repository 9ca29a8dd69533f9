// Matrices in the codes of checkpoints, made by tests.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kernels/dequantise/coded_matrix.h"
#include "models/weights/checkpoint.h"

namespace wan {

/// All codes of kernels/dequantise/coding.h.
std::vector<kernels::Code> all_codes();

/// Random blocks whose values are finite and at most 100, the largest of each at least 0.001; without scales. The same for
/// equal `seed`.
kernels::CodedMatrix random_codes(kernels::Code code, int64_t rows, int64_t columns, uint64_t seed);

/// Values [N, K], K a multiple of 32, as Q8_0: a half for each block of 32, its largest magnitude / 127, and 32 codes.
kernels::CodedMatrix as_q8_0(const at::Tensor& values);
/// Values [N, K], K a multiple of 256, as Q4_K: each 32 values from their least to their largest (0 among them) in 16 equal
/// steps, step and least in 6 bits of the largest ones of 256.
kernels::CodedMatrix as_q4_k(const at::Tensor& values);

/// `from` with the matrices whose names `code` takes in codes, which are written to `file`; it must outlive the checkpoint.
/// Scales are left out.
using Encode = std::function<kernels::CodedMatrix(const std::string& name, const at::Tensor& values)>;
Checkpoint coded_checkpoint(const Checkpoint& from, const std::filesystem::path& file,
                            const std::function<bool(const std::string&)>& takes, const Encode& encode);

}  // namespace wan
