// A safety checker from its folder, ready to look at pictures. Other rooms know of it what models/safety/checker.h says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "engine/residency/device.h"
#include "engine/residency/safety_files.h"
#include "models/safety/checker.h"
#include "models/safety/preprocessing.h"
#include "models/weights/checkpoint.h"

namespace wan {

/// What a safety checker takes of a device, bytes.
struct SafetyNeeds {
  uint64_t weights = 0, activations = 0;  // of one picture, as Checker computes it
};

/// Loaded. What it takes of the placement's budget goes back with it.
class SafetyNetwork {
 public:
  /// Computes in float32 on every device; on a CPU its weights are the mapped file. Reads all weights. Throws ModelError
  /// where a file is damaged, hostile, of another network, lacks tensors, has others, or holds NaN or Inf;
  /// c10::OutOfMemoryError where the budget has no room.
  SafetyNetwork(const SafetyFiles& files, const Placement& placement);
  /// A checker that is there, for tests.
  SafetyNetwork(std::unique_ptr<safety::Checker> checker, const safety::Preprocessing& preprocessing)
      : preprocessing_(preprocessing), checker_(std::move(checker)) {}

  const safety::Checker& checker() const { return *checker_; }
  const safety::Preprocessing& preprocessing() const { return preprocessing_; }
  at::Device device() const { return device_; }

 private:
  safety::Preprocessing preprocessing_;
  at::Device device_ = at::kCPU;
  DeviceBudget::Lease lease_;
  std::unique_ptr<safety::Checker> checker_;
};

/// From the files' headers. Throws ModelError as loading does, but for values.
SafetyNeeds safety_needs(const SafetyFiles& files, const Placement& placement);

/// What people should know of a checker: "labels normal and nsfw, 12 layers of 768, pictures of 224 pixels in patches of 16".
std::string safety_description(const safety::Config& config);

}  // namespace wan
