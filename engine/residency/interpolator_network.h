// The networks that draw frames, FILM and RIFE: loaded from their files, and what they take of memory. What else uses them
// knows an Interpolator alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/residency/device.h"
#include "engine/residency/interpolator.h"
#include "engine/residency/interpolator_file.h"
#include "engine/residency/parts.h"

namespace wan {

/// What an interpolator computes in beside this placement: float32 on a CPU; on a card the type of the VAE, half where
/// that is.
at::ScalarType interpolator_dtype(const Placement& placement);

/// On the placement's device; on a CPU its weights are the mapped file. Throws ModelError where that is damaged,
/// hostile, another network or another version than those that are known.
std::unique_ptr<Interpolator> load_interpolator(const InterpolatorPart& part, const Placement& placement);
/// Opens the file and looks whether every tensor is there and none besides, in its shape and finite. Throws ModelError.
void check_interpolator(const InterpolatorPart& part);

/// What an interpolator takes of a device.
struct InterpolatorNeeds {
  uint64_t weights = 0;  // bytes
  at::ScalarType dtype = at::kFloat;
  uint64_t room = 0;          // for activations, beyond which frames are drawn in tiles
  std::string releases = {};  // of RIFE, that the file may be of: "4.25 or 4.26"; empty for FILM, which has one

  /// Activations of one pair of whole frames or tiles of this size, bytes.
  uint64_t peak(int64_t height, int64_t width) const;
  /// Multiplications and additions of the convolutions: of each frame, and of each picture between two.
  struct Flops {
    double frame = 0, between = 0;
  };
  Flops flops(int64_t height, int64_t width) const;
  /// All of it at this size of frames: in tiles where whole ones take more than the room.
  uint64_t at(int64_t height, int64_t width) const { return weights + std::min(peak(height, width), room); }

 private:
  friend InterpolatorNeeds interpolator_needs(const InterpolatorPart&, const Placement&);
  std::function<uint64_t(int64_t height, int64_t width)> peak_;
  std::function<Flops(int64_t height, int64_t width)> flops_;
};

/// From the file's headers. The room is a quarter of the device, or of the host's memory where it computes there, rounded
/// down to a power of two so that it does not change with what is free, and at most 8 GiB. Throws ModelError.
InterpolatorNeeds interpolator_needs(const InterpolatorPart& part, const Placement& placement);

}  // namespace wan
