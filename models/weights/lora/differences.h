// From the keys of a LoRA file to differences of tensors: which kind, which rank and scale, and whether they fit.
#pragma once

#include <string>
#include <vector>

#include "models/weights/lora/adapter.h"
#include "models/weights/lora/file.h"
#include "models/weights/lora/keys.h"

namespace wan::lora {

/// By the names of their tensors. Reads headers and alphas alone, and calls nothing of libtorch's. Throws ModelError
/// naming `label` as File::open says.
std::vector<Difference> make_differences(const SortedKeys& keys, const StoredTensors& tensors,
                                         const StoredTensors& network, const AdapterMetadata& adapter,
                                         const std::string& label);

}  // namespace wan::lora
