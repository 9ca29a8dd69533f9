// What a LoRA file is, told from its headers and alphas without the network that it changes: `wan-infer inspect LORA`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/weights/lora/names.h"

namespace wan::lora {

struct Description {
  std::string target;  // "Wan 14B transformer (2.2 A14B, 2.1 14B)", "a network of another family (Flux)"
  std::string unused = "which this program does not run";  // of one that does not apply, why, and what to do
  Halves halves;                                           // of both experts' parts the high-noise one's is described
  bool applies = false;                                    // the target is a network that this program runs
  std::string dialect;                   // "official", "diffusers", "flattened"; empty where the target is no Wan
  std::map<std::string, int64_t> kinds;  // differences of each kind: "LoRA", "LoHa with DoRA", "difference of a bias"
  std::map<int64_t, int64_t> ranks;      // how many have each
  std::map<double, int64_t> alphas;      // how many have each value
  int64_t without_alpha = 0;             // of those with a rank: their scale is 1
  std::map<double, int64_t> scales;      // alpha / rank, or 1: what the factors are multiplied with at scale 1
  std::map<std::string, std::string> exempt;    // keys that are left out, with the reason for each
  std::vector<std::string> unknown;             // keys that the target has no place for: --lora-lax leaves them out
  std::map<std::string, std::string> metadata;  // texts of the file
};

/// Reads headers and alphas. Calls nothing of libtorch's. Throws ModelError as File::open with `lax`, but for a LoRA
/// of another family, which is told.
Description describe(const std::filesystem::path& path);

}  // namespace wan::lora
