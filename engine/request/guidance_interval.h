// The noise levels in which guidance works. Source: Kynkaanniemi et al. 2024, "Applying Guidance in a Limited Interval
// Improves Sample and Distribution Quality in Diffusion Models", arXiv 2404.07724.
#pragma once

#include <optional>
#include <string>

#include "engine/base/note.h"
#include "engine/request/schedule.h"

namespace wan {

/// Guidance works in steps from a sigma above `low`, up to `high`; in the others it is 1, and a step is one forward.
struct GuidanceInterval {
  double low = 0, high = 1;

  bool contains(double sigma) const { return sigma > low && sigma <= high; }
};

/// "0.2:0.9", two numbers from 0 to 1 of which the first is the lower. Throws InvalidRequest (field
/// "guidance_interval").
GuidanceInterval read_guidance_interval(const std::string& text);

/// Says where the request would guide, and its interval has the level of none of the steps.
std::optional<Note> guides_nowhere(const Request& request, const Schedule& schedule);

}  // namespace wan
