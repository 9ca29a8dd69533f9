#include "engine/residency/networks.h"

#include <chrono>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/residency/built_from_copy.h"
#include "engine/residency/open_network.h"
#include "engine/residency/unchanged.h"
#include "engine/residency/weight_cache.h"
#include "kernels/op/device_failure.h"
#include "models/files/error.h"
#include "models/weights/place.h"

namespace wan {

namespace {

bool is_transformer(Network network) {
  return network == Network::HighNoise || network == Network::LowNoise || network == Network::Speech;
}

template <typename Model>
void begin(const Model& model) {
  if constexpr (requires { model.streamed; })
    if (model.streamed) model.streamed->begin();
}

/// Bytes on the device of its blocks.
template <typename Model>
uint64_t block_bytes_of(const Model& model) {
  if constexpr (requires { model.streamed; })
    if (model.streamed) return model.streamed->memory()->bytes();
  return 0;
}

}  // namespace

Networks::Networks(ModelParts parts, const Placement& placement, Keep keep, Log log, const Activations& activations)
    : parts_(std::move(parts)),
      placement_(placement),
      log_(std::move(log)),
      activations_(activations),
      keep_(keep),
      cache_notes_(log_) {}

Networks::Networks(ModelParts parts, const Placement& placement, const Activations& activations, Log log)
    : Networks(std::move(parts), placement, Keep::One, std::move(log), activations) {
  keep_ = what_stays();
}

Networks::Networks(ModelParts parts, const Placement& placement, uint64_t working, Log log)
    : Networks(std::move(parts), placement, Activations{working, working, working}, std::move(log)) {}

Networks::~Networks() = default;

template <typename Model, typename Build>
void Networks::load(Slot<Model>& slot, Network network, const Streaming* streaming, Build build) {
  const auto start = std::chrono::steady_clock::now();
  DeviceBudget::Lease lease;
  if (placement_.budget && network != Network::AudioEncoder)
    lease = placement_.budget->take(is_wide(slot) ? wide_vae_bytes() : sizes_of(network).outside, name(network));
  Checkpoint checkpoint = open(network);
  uint64_t bytes = checkpoint.bytes();
  const auto ahead = ahead_.find(network);
  if (ahead != ahead_.end()) ahead->second->stop();
  const Place where = place_of(network, placement_);
  const Loading loading{streaming, check_};
  const auto from = [&](Checkpoint files) { return build(std::move(files), where, loading); };
  std::optional<decltype(from(std::move(checkpoint)))> made;
  if (is_cached(checkpoint, placement_.cache_dir)) {
    const auto again = [&] {
      return copy_there(network, parts_.networks.at(network), open_network(network, parts_), where, /*merged=*/false,
                        placement_.cache_dir, identities_);
    };
    const auto tell = [&](const std::string& why) {
      cache_notes_.add({field_of(network), "is loaded from its own files, not from a copy in --cache-dir: " + why, ""});
    };
    made = built_from_copy(std::move(checkpoint), from, again, tell);
    if (!made) checkpoint = open_network(network, parts_), bytes = checkpoint.bytes();
  }
  auto built = made ? std::move(*made) : from(std::move(checkpoint));
  // Files that are copied were opened once more, by their names.
  if (!where.mapped) check_unchanged(parts_, field_of(network));
  slot = {std::move(built.model), std::move(lease), std::move(built.weights), {}};
  if (is_transformer(network)) ++expert_loads_;
  Log::Fields fields = {{"network", name(network)}, {"bytes", bytes}};
  if (ahead != ahead_.end()) fields["bytes_ahead"] = ahead->second->bytes();
  if (streaming) {
    fields["device_bytes"] = slot.lease.bytes() + streaming->memory->bytes();
    fields["blocks_streamed"] = streaming->memory->streamed().size();
    fields["blocks"] = streaming->memory->blocks();
  }
  fields["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  log_("load", fields);
}

template <typename Model, typename Build>
const Model& Networks::get(Slot<Model>& slot, Network network, Build build) {
  enter(network);
  const bool counted = placement_.budget && network != Network::AudioEncoder;
  if (slot.model && counted && entered_ != network &&
      lies_otherwise(network, slot.lease.bytes() + block_bytes_of(*slot.model)))
    drop(network);
  if (!slot.model && counted) {
    const std::optional<Streaming> streaming = place(network);
    load(slot, network, streaming ? &*streaming : nullptr, build);
    begin(*slot.model);
  } else if (!slot.model) {
    if (keep_ != Keep::All && network != Network::AudioEncoder) drop_others(network);
    load(slot, network, nullptr, build);
  }
  if (counted && entered_ != network) {
    working_ = placement_.budget->take(working_of(network), name(network));
    entered_ = network;
  } else if (counted) {
    placement_.budget->touch(name(network));
  }
  return *slot.model;
}

void Networks::warn_of_precision() {
  if (placement_.precision == Precision::Exact || std::exchange(warned_, true)) return;
  log_("warning", {{"text", kUnmeasuredText}});
}

const Umt5Encoder& Networks::text_encoder() {
  const auto build = [](Checkpoint file, const Place& place, const Loading& loading) {
    return build_text_encoder(std::move(file), place, loading);
  };
  const Umt5Encoder& encoder = get(text_encoder_, Network::TextEncoder, build);
  if (next_) read_ahead(*next_);
  return encoder;
}

const WanModel& Networks::expert(bool high) {
  const Network network = high ? Network::HighNoise : Network::LowNoise;
  const auto build = [&](Checkpoint file, const Place& place, const Loading& loading) {
    warn_of_precision();
    return build_expert(parts_.networks.at(network), std::move(file), place, loading);
  };
  const WanModel& model = get(high ? high_ : low_, network, build);
  if (high && activations_.switches) read_ahead(Network::LowNoise);
  return model;
}

const SpeechModel& Networks::speech() {
  return get(speech_, Network::Speech, [&](Checkpoint file, const Place& place, const Loading& loading) {
    warn_of_precision();
    return build_speech(parts_.networks.at(Network::Speech), std::move(file), place, loading);
  });
}

const Wav2Vec2& Networks::audio_encoder() {
  return get(audio_encoder_, Network::AudioEncoder, [&](Checkpoint file, const Place& place, const Loading&) {
    return build_audio_encoder(parts_.networks.at(Network::AudioEncoder), std::move(file), place);
  });
}

const vae::Vae& Networks::vae() {
  return get(vae_, Network::Vae, [&](Checkpoint file, const Place& place, const Loading& loading) {
    return build_vae(std::move(file), place, placement_.vae, loading);
  });
}

const vae::Vae& Networks::wide_vae() {
  if (placement_.vae == at::kFloat) return vae();
  log_("vae", {{"dtype", "float32"}, {"reason", "a clip exceeds the range of half precision"}});
  if (placement_.device.is_cuda()) drop_others(Network::Vae);
  return get(wide_vae_, Network::Vae, [](Checkpoint file, const Place& place, const Loading& loading) {
    return build_vae(std::move(file), place, at::kFloat, loading);
  });
}

template <typename Model>
void Networks::adapt(Slot<Model>& slot, Network network, const std::vector<lora::Adapter>& adapters) {
  if (!slot.model || slot.adapters == adapters) return;
  const auto start = std::chrono::steady_clock::now();
  slot.adapters.clear();
  if (adapters.empty()) return lora::detach(slot.weights);
  lora::attach(slot.weights, adapters, open_network(network, parts_), check_, &dora_[network]);
  slot.adapters = adapters;
  log_("lora", {{"network", name(network)},
                {"files", adapters.size()},
                {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}});
}

void Networks::adapt(Network network, const std::vector<lora::Adapter>& adapters) {
  const auto of = [&](Network other) { return other == network ? adapters : std::vector<lora::Adapter>(); };
  // What goes makes room first.
  for (const bool now : {false, true}) {
    if ((network == Network::HighNoise) == now) adapt(high_, Network::HighNoise, of(Network::HighNoise));
    if ((network == Network::LowNoise) == now) adapt(low_, Network::LowNoise, of(Network::LowNoise));
    if ((network == Network::Speech) == now) adapt(speech_, Network::Speech, of(Network::Speech));
  }
}

void Networks::prefetch_low() {
  if (!placement_.budget || !high_.model || low_.model) return;
  const auto build = [&](Checkpoint file, const Place& place, const Loading& loading) {
    warn_of_precision();
    return build_expert(parts_.networks.at(Network::LowNoise), std::move(file), place, loading);
  };
  look(Network::LowNoise);  // what is free may have changed since the steps began
  try {
    if (keep_ != Keep::One) {
      if (!placed_in(Network::LowNoise, placement_.budget->free() + working_.bytes()).lying) return;
      const std::optional<Streaming> streaming = place(Network::LowNoise);
      load(low_, Network::LowNoise, &*streaming, build);
      low_.model->streamed->begin();
    } else if (shares_memory_) {
      share_host();
      const Streaming streaming{high_.model->streamed->memory(), copier_, room_};
      load(low_, Network::LowNoise, &streaming, build);
      kept_[Network::LowNoise] = kept_.at(Network::HighNoise);
      placed_under_[Network::LowNoise] = placed_under_.at(Network::HighNoise);
      high_.model->streamed->hand_over_to(*low_.model->streamed);
    }
  } catch (const c10::Error& error) {
    if (kernels::device_failure(error) != kernels::DeviceFailure::Full) throw;
    low_ = {};
    const std::string why = error.what_without_backtrace();
    log_("memory", {{"text", "the low-noise expert is not brought in ahead: " + why.substr(0, why.find('\n'))}});
  }
}

void Networks::drop(Network network) {
  if (entered_ == network) {
    entered_.reset();
    working_ = {};
  }
  if (is_loaded(network)) ahead_.erase(network);
  switch (network) {
    case Network::TextEncoder:
      text_encoder_ = {};
      break;
    case Network::HighNoise:
      if (high_.model && high_.model->streamed) high_.model->streamed->keep();
      high_ = {};
      break;
    case Network::LowNoise:
      if (high_.model && high_.model->streamed) high_.model->streamed->keep();
      low_ = {};
      break;
    case Network::Speech:
      speech_ = {};
      break;
    case Network::AudioEncoder:
      audio_encoder_ = {};
      break;
    case Network::Vae:
      vae_ = {};
      wide_vae_ = {};
      break;
  }
  release_cached(placement_.device);
}

}  // namespace wan
