#include "engine/residency/networks.h"

#include <chrono>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/residency/open_network.h"
#include "models/weights/place.h"

namespace wan {

namespace {

constexpr bool is_expert(Network network) {
  return network == Network::HighNoise || network == Network::LowNoise;
}

/// Block memory that is counted as long as it is there.
std::shared_ptr<BlockMemory> counted_memory(DeviceBudget& budget, const std::string& what,
                                            const std::vector<uint64_t>& sizes, const BlockPlan& plan,
                                            at::Device device) {
  struct Counted {
    DeviceBudget::Lease lease;
    BlockMemory memory;
  };
  DeviceBudget::Lease lease = budget.take(block_bytes(sizes, plan), what);
  auto counted = std::make_shared<Counted>(Counted{std::move(lease), BlockMemory(sizes, plan, device)});
  return std::shared_ptr<BlockMemory>(counted, &counted->memory);
}

Networks::Keep keep_for(const ModelParts& parts, const Placement& placement, uint64_t working) {
  const uint64_t available = placement.budget ? placement.budget->free() : available_memory(placement.device);
  return all_fit(parts, placement, working, available) ? Networks::Keep::All : Networks::Keep::One;
}

template <typename Model>
void begin(const Model& model) {
  if constexpr (requires { model.streamed; })
    if (model.streamed) model.streamed->begin();
}

}  // namespace

void check_network(Network network, const ModelParts& parts) {
  planned_bytes(network, parts, Place{}, at::kFloat);
}

uint64_t placed_bytes(Network network, const ModelParts& parts, const Placement& placement) {
  const Place place = place_of(network, placement);
  if (place.mapped && !open_network(network, parts).is_coded()) return 0;
  return planned_bytes(network, parts, place, placement.vae).bytes;
}

uint64_t least_bytes(Network network, const ModelParts& parts, const Placement& placement) {
  if (!placement.budget || network == Network::AudioEncoder) return placed_bytes(network, parts, placement);
  return least_bytes(planned_bytes(network, parts, place_of(network, placement), placement.vae).sizes);
}

bool all_fit(const ModelParts& parts, const Placement& placement, uint64_t working, uint64_t available) {
  uint64_t all = 0;
  for (const auto& [network, part] : parts.networks) {
    if (placement.budget && network == Network::AudioEncoder) continue;
    all += placement.budget ? planned_bytes(network, parts, place_of(network, placement), placement.vae).sizes.device()
                            : placed_bytes(network, parts, placement);
  }
  if (placement.device.is_cpu() && all == 0) return true;  // mapped files alone
  return all + working <= available;
}

uint64_t Activations::of(Network network) const {
  switch (network) {
    case Network::TextEncoder:
      return text;
    case Network::HighNoise:
    case Network::LowNoise:
    case Network::Speech:
      return denoise;
    case Network::Vae:
      return vae;
    case Network::AudioEncoder:
      return 0;
  }
  return 0;
}

void Activations::widen(const Activations& other) {
  text = std::max(text, other.text);
  denoise = std::max(denoise, other.denoise);
  vae = std::max(vae, other.vae);
}

Networks::Networks(ModelParts parts, const Placement& placement, Keep keep, Log log, const Activations& activations)
    : parts_(std::move(parts)), placement_(placement), log_(std::move(log)), activations_(activations), keep_(keep) {}

Networks::Networks(ModelParts parts, const Placement& placement, const Activations& activations, Log log)
    : Networks(parts, placement, keep_for(parts, placement, activations.most()), std::move(log), activations) {}

Networks::Networks(ModelParts parts, const Placement& placement, uint64_t working, Log log)
    : Networks(std::move(parts), placement, Activations{working, working, working}, std::move(log)) {}

Networks::~Networks() = default;

const NetworkSizes& Networks::sizes_of(Network network) {
  const auto known = sizes_.find(network);
  if (known != sizes_.end()) return known->second;
  return sizes_[network] = planned_bytes(network, parts_, place_of(network, placement_), placement_.vae).sizes;
}

uint64_t Networks::wide_vae_bytes() const {
  return planned_bytes(Network::Vae, parts_, place_of(Network::Vae, placement_), at::kFloat).sizes.outside;
}

void Networks::drop_others(Network network) {
  for (const auto& [other, part] : parts_.networks)
    if (other != network && other != Network::AudioEncoder) drop(other);
}

void Networks::enter(Network network) {
  asked_ = network;
  if (!placement_.budget || network == Network::AudioEncoder || entered_ == network) return;
  entered_.reset();
  working_ = {};
  if (keep_ == Keep::One) drop_others(network);
}

std::optional<Lying> Networks::lying_of(Network network, const NetworkSizes& sizes) {
  // What the last network computes in will have gone.
  const uint64_t taken = activations_.of(network), free = placement_.budget->free() + working_.bytes();
  const auto most = most_kept_.find(network);
  if (taken > free) return std::nullopt;
  return lying_for(sizes, free - taken, most == most_kept_.end() ? INT64_MAX : most->second);
}

void Networks::refuse(Network network) {
  const uint64_t working = activations_.of(network), weights = least_bytes(sizes_of(network));
  throw InvalidRequest(placement_.budget->field(),
                       "must be at least " + gigabytes(weights + working) + ": for the " + name(network) + " " +
                           gigabytes(weights) +
                           (sizes_of(network).blocks.empty() ? "" : " with two of its blocks at a time") + ", and " +
                           gigabytes(working) + " for what it computes; got " + gigabytes(placement_.budget->limit()) +
                           "; fewer frames or a smaller size need less");
}

std::optional<Streaming> Networks::place(Network network) {
  const NetworkSizes& own = sizes_of(network);
  NetworkSizes sizes = own;
  std::optional<Lying> lying;
  // Room for what the other expert has outside of blocks, so that it can be brought in while this one computes.
  if (network == Network::HighNoise && keep_ == Keep::One) {
    const NetworkSizes& other = sizes_of(Network::LowNoise);
    if (other.blocks.size() == own.blocks.size()) {
      sizes = joined(own, other);
      lying = lying_of(network, sizes);
    }
  }
  if (is_expert(network)) shares_memory_ = lying.has_value();
  if (!lying) lying = lying_of(network, sizes = own);
  if (!lying) refuse(network);
  if (sizes.blocks.empty()) return std::nullopt;
  kept_[network] = lying->blocks.kept;
  if (!copier_) {
    copier_ =
        std::make_shared<Copier>(placement_.device.is_cuda() ? cuda_copy_engine(placement_.device,
                                                                                [log = log_](const std::string& text) {
                                                                                  log("warning", {{"text", text}});
                                                                                })
                                                             : cpu_copy_engine());
    const uint64_t host = available_memory(at::kCPU);
    room_ = std::make_shared<HostRoom>(host - host / 10);
  }
  return Streaming{
      counted_memory(*placement_.budget, name(network), device_sizes(sizes), lying->blocks, placement_.device), copier_,
      room_};
}

template <typename Model, typename Build>
void Networks::load(Slot<Model>& slot, Network network, const Streaming* streaming, Build build) {
  const auto start = std::chrono::steady_clock::now();
  DeviceBudget::Lease lease;
  if (placement_.budget && network != Network::AudioEncoder)
    lease = placement_.budget->take(is_wide(slot) ? wide_vae_bytes() : sizes_of(network).outside, name(network));
  Checkpoint checkpoint = open_network(network, parts_);
  const uint64_t bytes = checkpoint.bytes();
  slot.model = build(std::move(checkpoint), place_of(network, placement_), streaming).model;
  slot.lease = std::move(lease);
  Log::Fields fields = {{"network", name(network)}, {"bytes", bytes}};
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
  if (!slot.model && counted) {
    const std::optional<Streaming> streaming = place(network);
    load(slot, network, streaming ? &*streaming : nullptr, build);
    begin(*slot.model);
  } else if (!slot.model) {
    if (keep_ == Keep::One && network != Network::AudioEncoder) drop_others(network);
    load(slot, network, nullptr, build);
  }
  if (counted && entered_ != network) {
    working_ = placement_.budget->take(activations_.of(network), name(network));
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
  return get(text_encoder_, Network::TextEncoder, [](Checkpoint file, const Place& place, const Streaming* streaming) {
    return build_text_encoder(std::move(file), place, streaming);
  });
}

const WanModel& Networks::expert(bool high) {
  const Network network = high ? Network::HighNoise : Network::LowNoise;
  return get(high ? high_ : low_, network, [&](Checkpoint file, const Place& place, const Streaming* streaming) {
    warn_of_precision();
    ++expert_loads_;
    return build_expert(parts_.networks.at(network), std::move(file), place, streaming);
  });
}

const SpeechModel& Networks::speech() {
  return get(speech_, Network::Speech, [&](Checkpoint file, const Place& place, const Streaming* streaming) {
    warn_of_precision();
    ++expert_loads_;
    return build_speech(parts_.networks.at(Network::Speech), std::move(file), place, streaming);
  });
}

const Wav2Vec2& Networks::audio_encoder() {
  return get(audio_encoder_, Network::AudioEncoder, [&](Checkpoint file, const Place& place, const Streaming*) {
    return build_audio_encoder(parts_.networks.at(Network::AudioEncoder), std::move(file), place);
  });
}

const vae::Vae& Networks::vae() {
  return get(vae_, Network::Vae, [&](Checkpoint file, const Place& place, const Streaming*) {
    return build_vae(std::move(file), place, placement_.vae);
  });
}

const vae::Vae& Networks::wide_vae() {
  if (placement_.vae == at::kFloat) return vae();
  log_("vae", {{"dtype", "float32"}, {"reason", "a clip exceeds the range of half precision"}});
  if (placement_.device.is_cuda()) drop_others(Network::Vae);
  return get(wide_vae_, Network::Vae, [](Checkpoint file, const Place& place, const Streaming*) {
    return build_vae(std::move(file), place, at::kFloat);
  });
}

void Networks::prefetch_low() {
  if (!placement_.budget || !high_.model || low_.model) return;
  const auto build = [&](Checkpoint file, const Place& place, const Streaming* streaming) {
    warn_of_precision();
    ++expert_loads_;
    return build_expert(parts_.networks.at(Network::LowNoise), std::move(file), place, streaming);
  };
  try {
    if (keep_ == Keep::All) {
      const std::optional<Streaming> streaming = place(Network::LowNoise);
      load(low_, Network::LowNoise, &*streaming, build);
      low_.model->streamed->begin();
    } else if (shares_memory_) {
      const Streaming streaming{high_.model->streamed->memory(), copier_, room_};
      load(low_, Network::LowNoise, &streaming, build);
      high_.model->streamed->hand_over_to(*low_.model->streamed);
    }
  } catch (const c10::OutOfMemoryError& error) {
    low_ = {};
    log_("memory",
         {{"text", "the low-noise expert is not brought in ahead: " + std::string(error.what_without_backtrace())}});
  }
}

bool Networks::make_room(bool first) {
  if (!asked_) return false;
  const Network network = *asked_;
  const auto step = [&](const std::string& text) { log_("memory", {{"network", name(network)}, {"text", text}}); };
  working_ = {};
  entered_.reset();
  if (first) {
    keep_ = Keep::One;
    drop_others(network);
    step("ran out: other networks and cached memory are given back, and the stage goes on from its last state");
    return true;
  }
  if (const auto kept = kept_.find(network); placement_.budget && kept != kept_.end() && kept->second > 0) {
    most_kept_[network] = kept->second / 2;
    drop(network);
    step("ran out: " + std::to_string(kept->second / 2) + " blocks stay on the device, " +
         std::to_string(kept->second) + " did");
    return true;
  }
  drop(network);
  if (network != Network::Vae || std::exchange(small_windows_, true)) return false;
  step("ran out: the VAE takes its smallest windows");
  return true;
}

void Networks::drop(Network network) {
  if (entered_ == network) {
    entered_.reset();
    working_ = {};
  }
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
