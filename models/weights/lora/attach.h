// LoRAs on the weights of a network: branches beside its linears, and other values of the rest. What the network has of
// its own is not touched.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "models/weights/lora/dora_cache.h"
#include "models/weights/lora/file.h"
#include "models/weights/weight.h"

namespace wan::lora {

/// A file that is applied, and how strongly.
struct Adapter {
  std::shared_ptr<const File> file;
  double strength;

  bool operator==(const Adapter&) const = default;
};

/// Puts all of them on the weights, in place of those that were there; a strength of 0 changes nothing. What several
/// change is changed by the sum of their differences, so that their order does not matter beyond rounding; DoRA's
/// difference is that from the base. `base`: the checkpoint of the network, from which the values come that DoRA and
/// other values are made from. The weights must be those of the network that the files were opened for. Throws
/// ModelError for factors that are not finite; then all are taken away. `check` is called before each weight and may
/// throw, with the same end. `dora`: what DoRA has of these weights from before; null: it is made anew.
void attach(std::span<Weight> weights, const std::vector<Adapter>& adapters, const Checkpoint& base,
            const std::function<void()>& check = {}, DoraCache* dora = nullptr);

/// Takes them away: the network computes as it did without.
void detach(std::span<Weight> weights);

/// What a file takes beside a network that computes in `compute`, in bytes.
uint64_t attached_bytes(const File& file, at::ScalarType compute);

/// What its branches take while they compute, beside the activations of a step.
struct BranchWork {
  uint64_t bytes = 0;  // whatever the number of tokens
  int64_t values = 0;  // for each token, in the dtype of the products
};
BranchWork branch_work(const File& file, at::ScalarType compute);

/// FLOPs for each token that the branches of all of them together add to the blocks of a network.
double attached_flops(const std::vector<std::shared_ptr<const File>>& files);

}  // namespace wan::lora
