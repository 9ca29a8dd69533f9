#include "engine/residency.h"

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
    case Role::Island:
      return at::kFloat;
    case Role::Table:
      return stored;
  }
  return stored;
}

/// Converts piece by piece on the way to the device, so that the host never holds more than one piece.
Place upload_to(const Target& target) {
  return [target](const at::Tensor& mapped, Role role) {
    if (role == Role::Table) return mapped;
    at::ScalarType dtype = placed_dtype(role, mapped.scalar_type(), target.dtype);
    at::Tensor placed = at::empty(mapped.sizes(), mapped.options().device(target.device).dtype(dtype));
    at::Tensor from = mapped.reshape({-1}), to = placed.view({-1});
    int64_t piece = kPieceBytes / int64_t(std::max(mapped.itemsize(), placed.itemsize()));
    for (int64_t start = 0; start < from.numel(); start += piece) {
      int64_t length = std::min(piece, from.numel() - start);
      to.narrow(0, start, length).copy_(from.narrow(0, start, length).to(dtype));
    }
    return placed;
  };
}

Place place_for(const Target& target) {
  return target.device.is_cpu() ? Place(keep_mapped) : upload_to(target);
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
uint64_t placed_bytes(const at::Tensor& weight, Role role, const Target& target) {
  if (role == Role::Table) return 0;
  if (weight.dim() == 2 && is_coded(role, weight.size(1), target.precision))
    return uint64_t(weight.numel()) + uint64_t(weight.size(0)) * kRowScaleBytes;
  return uint64_t(weight.numel()) * c10::elementSize(placed_dtype(role, weight.scalar_type(), target.dtype));
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
                                       const Target& target) {
  WanConfig config = WanConfig::read(folder / "config.json");
  auto make = [&](Weights& weights) { return std::make_unique<WanModel>(weights.root(), config, target.dtype); };
  return build(std::move(checkpoint), place, make, target.precision);
}

std::unique_ptr<SpeechModel> build_speech(const std::filesystem::path& folder, Checkpoint checkpoint,
                                          const Place& place, const Target& target) {
  SpeechConfig config = SpeechConfig::read(folder / "config.json");
  auto make = [&](Weights& weights) { return std::make_unique<SpeechModel>(weights.root(), config, target.dtype); };
  return build(std::move(checkpoint), place, make, target.precision);
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

uint64_t placed_bytes(Network network, const ModelFolder& folder, const Target& target) {
  if (target.device.is_cpu() || network == Network::AudioEncoder) return 0;
  std::filesystem::path path = path_of(network, folder);
  Checkpoint names = Checkpoint::names_only(Checkpoint::open(path).tensors(), path.string());
  uint64_t bytes = 0;
  Place count = [&](const at::Tensor& meta, Role role) {
    bytes += placed_bytes(meta, role, target);
    return meta;
  };
  switch (network) {
    case Network::TextEncoder:
      build_text_encoder(std::move(names), count, target.dtype);
      break;
    case Network::Vae:
      build_vae(std::move(names), count, target.vae);
      break;
    case Network::Speech:
      build_speech(path, std::move(names), count, target);
      break;
    default:
      build_expert(path, std::move(names), count, target);
  }
  return bytes;
}

bool all_fit(const ModelFolder& folder, const Target& target, uint64_t working, uint64_t available) {
  if (target.device.is_cpu()) return true;
  uint64_t all = working;
  for (Network network : networks_of(folder)) all += placed_bytes(network, folder, target);
  return all <= available;
}

Models::Models(ModelFolder folder, const Target& target, Keep keep, Log log)
    : folder_(std::move(folder)), target_(target), log_(std::move(log)), keep_(keep) {}

Models::Models(ModelFolder folder, const Target& target, uint64_t working, Log log)
    : Models(folder, target, all_fit(folder, target, working, available_memory(target.device)) ? Keep::All : Keep::One,
             std::move(log)) {}

template <typename Model, typename Load>
const Model& Models::get(std::unique_ptr<Model>& slot, Network network, Load load) {
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

void Models::warn_of_precision() {
  if (target_.precision == Precision::Exact || std::exchange(warned_, true)) return;
  log_("warning", {{"text", kUnmeasuredText}});
}

const Umt5Encoder& Models::text_encoder() {
  return get(text_encoder_, Network::TextEncoder,
             [&](Checkpoint file) { return build_text_encoder(std::move(file), place_for(target_), target_.dtype); });
}

const WanModel& Models::expert(bool high) {
  std::unique_ptr<WanModel>& slot = high ? high_ : low_;
  if (!slot) ++expert_loads_;
  return get(slot, high ? Network::HighNoise : Network::LowNoise, [&](Checkpoint file) {
    warn_of_precision();
    return build_expert(high ? folder_.high_noise : folder_.low_noise, std::move(file), place_for(target_), target_);
  });
}

const SpeechModel& Models::speech() {
  if (!speech_) ++expert_loads_;
  return get(speech_, Network::Speech, [&](Checkpoint file) {
    warn_of_precision();
    return build_speech(folder_.high_noise, std::move(file), place_for(target_), target_);
  });
}

const Wav2Vec2& Models::audio_encoder() {
  // Runs in float32 on the CPU, as in the reference, whatever the target: a minute of sound takes it seconds.
  return get(audio_encoder_, Network::AudioEncoder,
             [&](Checkpoint file) { return build_audio_encoder(folder_.audio_encoder, std::move(file), keep_mapped); });
}

const vae::Vae& Models::vae() {
  return get(vae_, Network::Vae,
             [&](Checkpoint file) { return build_vae(std::move(file), place_for(target_), target_.vae); });
}

const vae::Vae& Models::wide_vae() {
  if (target_.vae == at::kFloat) return vae();
  log_("vae", {{"dtype", "float32"}, {"reason", "a clip exceeds the range of half precision"}});
  if (target_.device.is_cuda()) {
    for (Network other : networks_of(folder_))
      if (other != Network::Vae && other != Network::AudioEncoder) drop(other);
  }
  return get(wide_vae_, Network::Vae,
             [&](Checkpoint file) { return build_vae(std::move(file), place_for(target_), at::kFloat); });
}

void Models::drop(Network network) {
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
  release_cached(target_.device);
}

}  // namespace wan
