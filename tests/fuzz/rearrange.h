// Variants of safetensors files that the format allows, so that what reads their tensors is reached.
#pragma once

#include <random>
#include <string>

namespace wan::fuzz {

/// `file` with one to three changes of its header: other names, as the tensors beside quantised weights have them,
/// other dtypes and shapes for the same bytes, another description of the quantisation. Bytes that are no safetensors
/// file come back as they are.
std::string rearranged(const std::string& file, std::mt19937_64& random);

}  // namespace wan::fuzz
