#include "engine/residency/networks.h"
#include "models/weights/scope.h"

#include <ATen/ATen.h>

#include <chrono>

namespace wan {

namespace {

constexpr int64_t kPieceBytes = 64 << 20;

at::ScalarType placed_dtype(Role role, at::ScalarType stored, at::ScalarType compute) {
  switch (role) {
    case Role::Matmul:
    case Role::Block:
      return compute;
    case Role::Float32:
      return at::kFloat;
    case Role::Table:
      return stored;
  }
  return stored;
}

/// Converts piece by piece on the way to the device, so that the host never holds more than one piece.
Place upload_to(const Placement& placement) {
  return [placement](const at::Tensor& mapped, Role role) {
    if (role == Role::Table) return mapped;
    at::ScalarType dtype = placed_dtype(role, mapped.scalar_type(), placement.dtype);
    at::Tensor placed = at::empty(mapped.sizes(), mapped.options().device(placement.device).dtype(dtype));
    at::Tensor from = mapped.reshape({-1}), to = placed.view({-1});
    int64_t piece = kPieceBytes / int64_t(std::max(mapped.itemsize(), placed.itemsize()));
    for (int64_t start = 0; start < from.numel(); start += piece) {
      int64_t length = std::min(piece, from.numel() - start);
      to.narrow(0, start, length).copy_(from.narrow(0, start, length).to(dtype));
    }
    return placed;
  };
}

Place place_for(const Placement& placement) {
  return placement.device.is_cpu() ? Place(keep_mapped) : upload_to(placement);
}

std::filesystem::path path_of(Network network, const ModelFolder& folder) {
  switch (network) {
    case Network::TextEncoder:
      return folder.text_encoder;
    case Network::AudioEncoder:
      return folder.audio_encoder;
    case Network::HighNoise:
    case Network::Speech:
      return folder.high_noise;
    case Network::LowNoise:
      return folder.low_noise;
    case Network::Vae:
      return folder.vae;
  }
  return {};
}

/// Bytes that a weight ends up with.
uint64_t placed_bytes(const at::Tensor& weight, Role role, const Placement& placement) {
  if (role == Role::Table) return 0;
  if (weight.dim() == 2 && is_coded(role, weight.size(1), placement.precision))
    return uint64_t(weight.numel()) + uint64_t(weight.size(0)) * kRowScaleBytes;
  return uint64_t(weight.numel()) * c10::elementSize(placed_dtype(role, weight.scalar_type(), placement.dtype));
}

/// Builds a network from a checkpoint whose every tensor it must use.
template <typename Make>
auto build(Checkpoint checkpoint, const Place& place, Make make, Precision precision = Precision::Exact) {
  Weights weights(std::move(checkpoint), place, precision);
  auto model = make(weights);
  weights.finish();
  return model;
}

std::unique_ptr<Umt5Encoder> build_text_encoder(Checkpoint checkpoint, const Place& place, at::ScalarType compute) {
  return build(std::move(checkpoint), place,
               [&](Weights& weights) { return std::make_unique<Umt5Encoder>(weights.root(), compute); });
}

std::unique_ptr<WanModel> build_expert(const std::filesystem::path& folder, Checkpoint checkpoint, const Place& place,
                                       const Placement& placement) {
  WanConfig config = WanConfig::read(folder / "config.json");
  auto make = [&](Weights& weights) { return std::make_unique<WanModel>(weights.root(), config, placement.dtype); };
  return build(std::move(checkpoint), place, make, placement.precision);
}

std::unique_ptr<SpeechModel> build_speech(const std::filesystem::path& folder, Checkpoint checkpoint,
                                          const Place& place, const Placement& placement) {
  SpeechConfig config = SpeechConfig::read(folder / "config.json");
  auto make = [&](Weights& weights) { return std::make_unique<SpeechModel>(weights.root(), config, placement.dtype); };
  return build(std::move(checkpoint), place, make, placement.precision);
}

std::unique_ptr<Wav2Vec2> build_audio_encoder(const std::filesystem::path& folder, Checkpoint checkpoint,
                                              const Place& place) {
  Wav2Vec2Config config = Wav2Vec2Config::read(folder / "config.json");
  return build(std::move(checkpoint), place,
               [&](Weights& weights) { return std::make_unique<Wav2Vec2>(weights, config); });
}

std::unique_ptr<vae::Vae> build_vae(Checkpoint checkpoint, const Place& place, at::ScalarType dtype) {
  return build(std::move(checkpoint), place,
               [&](Weights& weights) { return std::make_unique<vae::Vae>(weights, vae::Options{dtype}); });
}

}  // namespace

const char* name(Network network) {
  switch (network) {
    case Network::TextEncoder:
      return "text encoder";
    case Network::AudioEncoder:
      return "audio encoder";
    case Network::HighNoise:
      return "high-noise expert";
    case Network::LowNoise:
      return "low-noise expert";
    case Network::Speech:
      return "speech transformer";
    case Network::Vae:
      return "VAE";
  }
  return "";
}

std::vector<Network> networks_of(const ModelFolder& folder) {
  if (!folder.audio_encoder.empty())
    return {Network::TextEncoder, Network::AudioEncoder, Network::Speech, Network::Vae};
  return {Network::TextEncoder, Network::HighNoise, Network::LowNoise, Network::Vae};
}

uint64_t placed_bytes(Network network, const ModelFolder& folder, const Placement& placement) {
  if (placement.device.is_cpu() || network == Network::AudioEncoder) return 0;
  std::filesystem::path path = path_of(network, folder);
  Checkpoint names = Checkpoint::names_only(Checkpoint::open(path).tensors(), path.string());
  uint64_t bytes = 0;
  Place count = [&](const at::Tensor& meta, Role role) {
    bytes += placed_bytes(meta, role, placement);
    return meta;
  };
  switch (network) {
    case Network::TextEncoder:
      build_text_encoder(std::move(names), count, placement.dtype);
      break;
    case Network::Vae:
      build_vae(std::move(names), count, placement.vae);
      break;
    case Network::Speech:
      build_speech(path, std::move(names), count, placement);
      break;
    default:
      build_expert(path, std::move(names), count, placement);
  }
  return bytes;
}

bool all_fit(const ModelFolder& folder, const Placement& placement, uint64_t working, uint64_t available) {
  if (placement.device.is_cpu()) return true;
  uint64_t all = working;
  for (Network network : networks_of(folder)) all += placed_bytes(network, folder, placement);
  return all <= available;
}

Networks::Networks(ModelFolder folder, const Placement& placement, Keep keep, Log log)
    : folder_(std::move(folder)), placement_(placement), log_(std::move(log)), keep_(keep) {}

Networks::Networks(ModelFolder folder, const Placement& placement, uint64_t working, Log log)
    : Networks(folder, placement,
               all_fit(folder, placement, working, available_memory(placement.device)) ? Keep::All : Keep::One,
               std::move(log)) {}

template <typename Model, typename Load>
const Model& Networks::get(std::unique_ptr<Model>& slot, Network network, Load load) {
  if (slot) return *slot;
  if (keep_ == Keep::One) {
    for (Network other : networks_of(folder_))
      if (other != network && other != Network::AudioEncoder) drop(other);
  }
  auto start = std::chrono::steady_clock::now();
  Checkpoint checkpoint = Checkpoint::open(path_of(network, folder_));
  uint64_t bytes = checkpoint.bytes();
  slot = load(std::move(checkpoint));
  log_("load", {{"network", name(network)},
                {"bytes", bytes},
                {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}});
  return *slot;
}

void Networks::warn_of_precision() {
  if (placement_.precision == Precision::Exact || std::exchange(warned_, true)) return;
  log_("warning", {{"text", kUnmeasuredText}});
}

const Umt5Encoder& Networks::text_encoder() {
  return get(text_encoder_, Network::TextEncoder, [&](Checkpoint file) {
    return build_text_encoder(std::move(file), place_for(placement_), placement_.dtype);
  });
}

const WanModel& Networks::expert(bool high) {
  std::unique_ptr<WanModel>& slot = high ? high_ : low_;
  if (!slot) ++expert_loads_;
  return get(slot, high ? Network::HighNoise : Network::LowNoise, [&](Checkpoint file) {
    warn_of_precision();
    return build_expert(high ? folder_.high_noise : folder_.low_noise, std::move(file), place_for(placement_),
                        placement_);
  });
}

const SpeechModel& Networks::speech() {
  if (!speech_) ++expert_loads_;
  return get(speech_, Network::Speech, [&](Checkpoint file) {
    warn_of_precision();
    return build_speech(folder_.high_noise, std::move(file), place_for(placement_), placement_);
  });
}

const Wav2Vec2& Networks::audio_encoder() {
  // Runs in float32 on the CPU, as in the reference, whatever the placement: a minute of sound takes it seconds.
  return get(audio_encoder_, Network::AudioEncoder,
             [&](Checkpoint file) { return build_audio_encoder(folder_.audio_encoder, std::move(file), keep_mapped); });
}

const vae::Vae& Networks::vae() {
  return get(vae_, Network::Vae,
             [&](Checkpoint file) { return build_vae(std::move(file), place_for(placement_), placement_.vae); });
}

const vae::Vae& Networks::wide_vae() {
  if (placement_.vae == at::kFloat) return vae();
  log_("vae", {{"dtype", "float32"}, {"reason", "a clip exceeds the range of half precision"}});
  if (placement_.device.is_cuda()) {
    for (Network other : networks_of(folder_))
      if (other != Network::Vae && other != Network::AudioEncoder) drop(other);
  }
  return get(wide_vae_, Network::Vae,
             [&](Checkpoint file) { return build_vae(std::move(file), place_for(placement_), at::kFloat); });
}

void Networks::drop(Network network) {
  switch (network) {
    case Network::TextEncoder:
      text_encoder_.reset();
      break;
    case Network::HighNoise:
      high_.reset();
      break;
    case Network::LowNoise:
      low_.reset();
      break;
    case Network::Speech:
      speech_.reset();
      break;
    case Network::AudioEncoder:
      audio_encoder_.reset();
      break;
    case Network::Vae:
      vae_.reset();
      wide_vae_.reset();
      break;
  }
  release_cached(placement_.device);
}

}  // namespace wan
