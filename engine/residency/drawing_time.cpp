#include "engine/residency/drawing_time.h"

#include <algorithm>

#include "engine/residency/cost_model.h"
#include "engine/residency/interpolator_network.h"

namespace wan {

namespace {

/// A convolution reaches less of a card than a matrix product does: as for the VAE in request_workload.cpp.
constexpr double kConvolution = 1.6;

/// Of pictures that FILM draws at midpoints every second one is a neighbour of others, and is looked at as frames are.
Work drawing_work(const Interpolation& how, const InterpolatorNeeds::Flops& flops, int64_t frames) {
  const double pairs = double(std::max<int64_t>(frames - 1, 0)), between = double(how.between);
  const double neighbours = how.model == "film" && !how.direct ? pairs * double(how.between / 2) : 0;
  Work work;
  work.linear = kConvolution * ((double(frames) + neighbours) * flops.frame + pairs * between * flops.between);
  return work;
}

}  // namespace

PhasePlan drawing_phase(const Interpolation& how, const InterpolatorPart& part, const Placement& placement,
                        const Extent& extent, const Machine& machine, const PhasePlan& decode) {
  const InterpolatorNeeds needs = interpolator_needs(part, placement);
  const Work work = drawing_work(how, needs.flops(extent.height, extent.width), extent.frames);
  PhasePlan phase;
  phase.name = how.model;
  phase.activations = needs.at(extent.height, extent.width);
  phase.device_bytes = decode.device_bytes;
  phase.host_bytes = decode.host_bytes;
  phase.compute_seconds = phase.seconds = seconds_of(work, machine, /*eight_bit=*/false);
  return phase;
}

}  // namespace wan
