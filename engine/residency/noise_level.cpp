#include "engine/residency/noise_level.h"

namespace wan {

std::optional<NoiseLevel> level_of(Network network) {
  if (network == Network::HighNoise) return NoiseLevel::High;
  if (network == Network::LowNoise) return NoiseLevel::Low;
  return std::nullopt;
}

std::optional<NoiseLevel> noise_level(const ModelPart& part) {
  return noise_level(part.path, part.name);
}

bool says_both(const ModelPart& part) {
  return says_both(part.path, part.name);
}

std::string without_level(const ModelPart& part) {
  return without_level(part.path, part.name);
}

}  // namespace wan
