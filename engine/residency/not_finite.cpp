#include "engine/residency/not_finite.h"

#include <algorithm>
#include <utility>

#include "models/weights/checkpoint.h"
#include "models/weights/convert/rows.h"

namespace wan {
namespace {

/// Rows are asked for as convert asks for them, which refuses what is not finite.
void check_tensor(const Checkpoint& file, const std::string& name, const StoredTensor& tensor) {
  constexpr int64_t kTileValues = 2 << 20;
  if (tensor.shape.empty() || tensor.elements() == 0) return;  // a scalar is a scale, which opening checks
  const convert::Rows rows(file, name, {});
  const int64_t count = tensor.shape[0], tile = std::max<int64_t>(kTileValues / (tensor.elements() / count), 1);
  for (int64_t first = 0; first < count; first += tile) rows.get(first, std::min(tile, count - first));
}

}  // namespace

void check_weights_finite(const ModelParts& parts, const std::vector<Network>& networks, Progress& progress,
                          const std::string& label) {
  for (const Network network : networks) {
    const Checkpoint file = Checkpoint::open(parts.path_of(network));
    const auto all = int64_t(file.tensors().size());
    int64_t done = 0;
    for (const auto& [name, tensor] : file.tensors()) {
      progress.at({Stage::Load, done++, all, "", label});
      check_tensor(file, name, tensor);
    }
  }
}

}  // namespace wan
