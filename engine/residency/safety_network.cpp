#include "engine/residency/safety_network.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>
#include <variant>
#include <vector>

#include "models/files/error.h"
#include "models/weights/format/layout.h"
#include "models/weights/scope.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Everything about a checker that its headers tell.
struct Opened {
  safety::Config config;
  safety::Preprocessing preprocessing;
  Checkpoint checkpoint;
};

Opened open(const SafetyFiles& files) {
  const safety::Config config = safety::read_config(files.config);
  const safety::Preprocessing preprocessing = safety::Preprocessing::read(files.preprocessor, config);
  if (!holds_checkpoint(files.folder))
    throw ModelError(files.folder.string(),
                     std::string("must hold model.safetensors or pytorch_model.bin, holds neither") + kSafetyPublished);
  return {config, preprocessing, safety::official_names(Checkpoint::open(files.folder), config)};
}

void check_finite(const Checkpoint& checkpoint) {
  for (const auto& [name, stored] : checkpoint.tensors())
    if (const at::Tensor values = checkpoint.map(name);
        values.is_floating_point() && !values.to(at::kFloat).isfinite().all().item<bool>())
      throw ModelError(checkpoint.label() + ": " + name,
                       "must be finite, has NaN or Inf: the file is damaged; download it again");
}

Place place_on(const Placement& placement) {
  return Place::on(placement.device, at::kFloat, Precision::Exact, placement.context);
}

/// Of one picture: residual, its norm, q, k, v and the attention's result, beside the four times as wide hidden layer of the
/// MLP, and on a GPU the logits of all heads.
uint64_t activations_of(const safety::VisionConfig& c) {
  const int64_t rows = c.tokens() * (6 * c.hidden_size + 2 * c.intermediate_size);
  const int64_t logits = 2 * c.num_attention_heads * c.tokens() * c.tokens();
  const int64_t pixels = 2 * 3 * c.image_size * c.image_size;
  return uint64_t(rows + logits + pixels) * sizeof(float);
}

/// The number of bytes of the weights in the place that they will have.
SafetyNeeds needs_of(const Opened& opened, const Placement& placement) {
  Weights weights(opened.checkpoint, place_on(placement).planned());
  const auto network = safety::make_checker(weights, opened.config);
  weights.finish();
  return {bytes_of(weights.taken()), activations_of(network->vision())};
}

}  // namespace

SafetyNetwork::SafetyNetwork(const SafetyFiles& files, const Placement& placement) : device_(placement.device) {
  Opened opened = open(files);
  preprocessing_ = opened.preprocessing;
  const SafetyNeeds needs = needs_of(opened, placement);
  check_finite(opened.checkpoint);
  if (placement.budget) lease_ = placement.budget->take(needs.weights + needs.activations, "safety checker");
  Weights weights(std::move(opened.checkpoint), place_on(placement));
  checker_ = safety::make_checker(weights, opened.config);
  weights.finish();
  // It computes on another stream than the one that its weights were copied by.
  if (placement.device.is_cuda())
    c10::impl::VirtualGuardImpl(placement.device.type()).synchronizeDevice(placement.device.index());
}

SafetyNeeds safety_needs(const SafetyFiles& files, const Placement& placement) {
  return needs_of(open(files), placement);
}

}  // namespace wan
