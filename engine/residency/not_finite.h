// Results with NaN or Inf, and whether a file of the model is the cause.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "engine/residency/parts.h"

namespace wan {

/// A computation gave NaN or Inf; the text says which one.
struct NotFinite : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Reads the whole files of these networks. Throws ModelError for the first tensor that holds NaN or Inf, naming it,
/// and Cancelled through `progress`. `label`: of the job, in reports.
void check_weights_finite(const ModelParts& parts, const std::vector<Network>& networks, Progress& progress,
                          const std::string& label = "");

}  // namespace wan
