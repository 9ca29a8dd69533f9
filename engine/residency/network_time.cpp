#include "engine/residency/network_time.h"

namespace wan {

double loading_time(const NetworkSizes& sizes, const NetworkPlan& placed, const Machine& machine) {
  if (sizes.mapped) return double(sizes.file()) / machine.disk;
  uint64_t file = sizes.outside_file, device = sizes.outside;
  const std::vector<bool> kept = kept_blocks(placed);
  const std::vector<Image> images = images_of(placed);
  for (size_t i = 0; i < kept.size(); ++i) {
    if (images[i] != Image::File) file += sizes.blocks[i].file;
    if (kept[i]) device += sizes.blocks[i].device;
  }
  return load_seconds(file, device, machine);
}

Streaming streaming_of(const NetworkSizes& sizes, const NetworkPlan& placed, const Machine& machine, double block,
                       double rest) {
  Streaming streaming{.compute = std::vector<double>(sizes.blocks.size(), block),
                      .copy = std::vector<double>(sizes.blocks.size(), -1),
                      .rest = rest,
                      .slots = placed.slots};
  if (placed.residency != Residency::Streamed) return streaming;
  const std::vector<bool> kept = kept_blocks(placed);
  const std::vector<Image> images = images_of(placed);
  for (size_t i = 0; i < kept.size(); ++i)
    if (!kept[i]) streaming.copy[i] = copy_seconds(sizes.blocks[i], images[i], machine);
  return streaming;
}

uint64_t streamed_bytes(const NetworkSizes& sizes, const NetworkPlan& placed) {
  if (placed.residency != Residency::Streamed) return 0;
  uint64_t sum = 0;
  const std::vector<bool> kept = kept_blocks(placed);
  for (size_t i = 0; i < kept.size(); ++i) sum += kept[i] ? 0 : sizes.blocks[i].device;
  return sum;
}

}  // namespace wan
