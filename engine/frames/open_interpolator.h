// An interpolator at work: loaded for frames of one size, and counted in what the device may give.
#pragma once

#include <memory>
#include <string>

#include "engine/base/log.h"
#include "engine/frames/tiled_interpolator.h"
#include "engine/request/interpolation.h"
#include "engine/residency/device.h"
#include "engine/residency/interpolator.h"
#include "engine/residency/parts.h"

namespace wan {

/// How frames of this size are cut, and by which version they are drawn. From headers alone, the same in every run on a
/// machine. Throws ModelError.
DrawingDetails drawing_details(const InterpolatorPart& part, const Placement& placement, int64_t height, int64_t width);

/// Holds the network, and what it and its activations take of the budget, until it goes.
class OpenInterpolator {
 public:
  /// Loads the file for frames of this size, and for tiles of them where whole ones take more than its room
  /// (InterpolatorNeeds); the log is told of both. Throws ModelError; c10::OutOfMemoryError where the budget has no room.
  OpenInterpolator(const InterpolatorPart& part, const Placement& placement, int64_t height, int64_t width,
                   const Log& log);

  const Interpolator& network() const;

 private:
  DeviceBudget::Lease weights_, activations_;
  std::unique_ptr<Interpolator> whole_;
  std::unique_ptr<TiledInterpolator> tiled_;  // null: frames are drawn whole
};

}  // namespace wan
