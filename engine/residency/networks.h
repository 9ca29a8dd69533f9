// The networks of a model: loaded when they are first asked for, unloaded where others need the room.
#pragma once

#include <memory>
#include <optional>

#include "engine/base/log.h"
#include "engine/residency/device.h"
#include "engine/residency/parts.h"
#include "models/umt5/encoder.h"
#include "models/vae/vae.h"
#include "models/wan/model.h"
#include "models/wan_s2v/model.h"
#include "models/wav2vec2/model.h"

namespace wan {

/// Builds a network from the headers of its files and its config alone, as loading does: every tensor must be there, in
/// its shape and whole. Throws ModelError.
void check_network(Network network, const ModelParts& parts);

/// Bytes a network's weights take on the placement once they are loaded: it is built on the meta device, from headers
/// alone. 0 on the CPU, where the mapped files serve, and for the audio encoder, which stays there. Throws ModelError.
uint64_t placed_bytes(Network network, const ModelParts& parts, const Placement& placement);

/// Whether all networks of the model and `working` bytes of activations fit into `available` bytes of the placement at
/// once; on the CPU they do. Throws ModelError.
bool all_fit(const ModelParts& parts, const Placement& placement, uint64_t working, uint64_t available);

/// What the log says, once, where a transformer is loaded in another precision than the reference's.
inline constexpr const char* kUnmeasuredText =
    "8-bit arithmetic has not been measured on a GPU yet; --precision exact computes as the reference does";

/// Loads networks when they are first asked for. On the CPU all of them stay: they are mappings. On CUDA they all stay
/// where they fit beside `working` bytes of activations; else one at a time is on the device.
class Networks {
 public:
  enum class Keep { All, One };
  Networks(ModelParts parts, const Placement& placement, Keep keep, Log log);
  /// Keeps all where they fit into what is free now.
  Networks(ModelParts parts, const Placement& placement, uint64_t working, Log log);

  const ModelParts& parts() const { return parts_; }
  const Placement& placement() const { return placement_; }

  /// Each throws ModelError where the files are not what the network needs. A reference holds until another network is
  /// asked for.
  const Umt5Encoder& text_encoder();
  const WanModel& expert(bool high);
  const SpeechModel& speech();
  const Wav2Vec2& audio_encoder();
  const vae::Vae& vae();
  /// The VAE in float32 whatever the placement says. On CUDA the other networks make room for it and its wider caches.
  /// vae() stays as it was: what a clip is computed in must not depend on the clips before it.
  const vae::Vae& wide_vae();

  /// How often an expert was brought in: a batch in phases needs each once.
  int64_t expert_loads() const { return expert_loads_; }
  /// Drops a network that is not needed again.
  void drop(Network network);

 private:
  template <typename Model, typename Load>
  const Model& get(std::unique_ptr<Model>& slot, Network network, Load load);

  void warn_of_precision();

  ModelParts parts_;
  Placement placement_;
  Log log_;
  bool warned_ = false;
  Keep keep_;
  int64_t expert_loads_ = 0;
  std::unique_ptr<Umt5Encoder> text_encoder_;
  std::unique_ptr<WanModel> high_, low_;
  std::unique_ptr<SpeechModel> speech_;
  std::unique_ptr<Wav2Vec2> audio_encoder_;
  std::unique_ptr<vae::Vae> vae_, wide_vae_;
};

}  // namespace wan
