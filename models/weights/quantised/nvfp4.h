// Weights in NVFP4, which three programs write in three ways.
#pragma once

#include <initializer_list>
#include <set>
#include <string>

#include "models/weights/quantised/layers.h"

namespace wan {

/// What a weight in NVFP4 is read from: what lies beside it and in its folder.
struct JoinedLayer {
  const std::string& weight;  // its name
  const QuantisedLayer& layer;
  const std::set<std::string>& modelopt;  // modelopt_ways of its folder
  bool was_processed;                     // by Model Optimizer, for a program that wants another layout than its own
  const std::string& label;
};

/// Gives a weight [N, K / 2] of bytes its logical shape [N, K], coding and scales. ComfyUI says nvfp4 and has the first
/// of two elements in the high four bits; LightX2V is known by what only it has beside a weight (alpha and
/// input_global_scale, or input_absmax and weight_global_scale), Model Optimizer by its folder; both have the first
/// element in the low four bits. Scales of blocks lie in tiles, with Model Optimizer in rows. Throws ModelError for
/// anything else.
void join_nvfp4(StoredTensor& weight, const JoinedLayer& joined);

/// Throws ModelError about the weight where one of `needed` is not beside it, and about a tensor that is neither of
/// these nor of `allowed`.
void check_beside(const std::string& label, const std::string& weight, const QuantisedLayer& layer,
                  std::initializer_list<Beside> needed, std::initializer_list<Beside> allowed);

}  // namespace wan
