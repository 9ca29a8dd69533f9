// Networks from their checkpoints: every tensor must be used, and belong there.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "engine/residency/device.h"
#include "engine/residency/lying.h"
#include "engine/residency/parts.h"
#include "models/umt5/encoder.h"
#include "models/vae/vae.h"
#include "models/wan/model.h"
#include "models/wan_s2v/model.h"
#include "models/wav2vec2/model.h"

namespace wan {

/// Where a network's weights lie. The audio encoder runs in float32 on the CPU, as in the reference, whatever the
/// placement: a minute of sound takes it seconds. Only transformers have blocks in a lower precision.
Place place_of(Network network, const Placement& placement);

/// Memory for the blocks of a network, and who fills it.
struct Streaming {
  std::shared_ptr<BlockMemory> memory;
  std::shared_ptr<Copier> copier;
  std::shared_ptr<HostRoom> room;
};

template <typename Model>
struct Built {
  std::unique_ptr<Model> model;
  uint64_t bytes;                    // that its weights take on their devices
  NetworkSizes sizes;                // the same by blocks, each tensor of which is aligned; of files it says nothing
  std::vector<Weight> weights = {};  // handles to those of the model
};

/// How a network is brought in.
struct Loading {
  const Streaming* streaming = nullptr;  // where its blocks lie; it begins with begin()
  /// Asked before each weight, while files are read, and while a block is waited for; may throw to stop.
  std::function<void()> check = {};
};

/// Each takes its whole checkpoint. Throw ModelError, and what Loading::check throws.
Built<Umt5Encoder> build_text_encoder(Checkpoint checkpoint, const Place& place, const Loading& loading = {});
Built<WanModel> build_expert(const ModelPart& part, Checkpoint checkpoint, const Place& place,
                             const Loading& loading = {});
Built<SpeechModel> build_speech(const ModelPart& part, Checkpoint checkpoint, const Place& place,
                                const Loading& loading = {});
Built<Wav2Vec2> build_audio_encoder(const ModelPart& part, Checkpoint checkpoint, const Place& place);
Built<vae::Vae> build_vae(Checkpoint checkpoint, const Place& place, at::ScalarType dtype, const Loading& loading = {});

/// What a network's weights take.
struct PlannedBytes {
  uint64_t bytes;
  NetworkSizes sizes;
};
/// Builds it on the meta device, from headers alone. Throws ModelError.
PlannedBytes planned_bytes(Network network, const ModelParts& parts, const Place& place, at::ScalarType vae_dtype);

}  // namespace wan
