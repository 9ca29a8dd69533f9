#include "models/wan_s2v/model.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/check.h"

namespace wan {
namespace {

/// Rows of trainable_cond_mask.
enum Kind { kNoisy, kReference, kMotion, kKinds };

}  // namespace

SpeechModel::SpeechModel(const Scope& root, const SpeechConfig& config, at::ScalarType compute)
    : config(config),
      patch_embedding(root / "patch_embedding", config.wan.in_dim, config.wan.dim, WanConfig::kPatch, compute),
      cond_encoder(root / "cond_encoder", config.cond_dim, config.wan.dim, WanConfig::kPatch, compute),
      frame_packer(root / "frame_packer", config.wan, compute),
      trainable_cond_mask((root / "trainable_cond_mask").take("weight", {kKinds, config.wan.dim}, Role::Float32)),
      text_embedding(root / "text_embedding", text_dim(root), config.wan.dim, config.wan.dim, Activation::GeluTanh,
                     compute),
      time(root, config.wan, compute),
      casual_audio_encoder(root / "casual_audio_encoder", config, compute),
      head(root / "head", config.wan, compute) {
  blocks.reserve(size_t(config.wan.num_layers));
  for (int64_t i = 0; i < config.wan.num_layers; ++i)
    blocks.emplace_back(root / "blocks" / i, config.wan, compute, query_role(i, config.wan.num_layers));
  for (size_t j = 0; j < config.audio_inject_layers.size(); ++j)
    injectors.emplace_back(root / "audio_injector", int64_t(j), config.wan, compute);
}

Context SpeechModel::context(const Tensor& states) const {
  return {embed_text(text_embedding, states, config.wan.text_len), std::vector<std::optional<KeyValue>>(blocks.size())};
}

AudioContext SpeechModel::audio(const Tensor& features) const {
  AudioTokens tokens = casual_audio_encoder(features);
  // The tokens of the past, of which the encoder was given copies of the first frame, are never attended to.
  const int64_t frames = tokens.local.size(0) - kMotionLatents;
  tokens = {tokens.local.narrow(0, kMotionLatents, frames), tokens.global.narrow(0, kMotionLatents, frames)};
  AudioContext result;
  for (const AudioInjector& injector : injectors) result.push_back(injector.prepare(tokens));
  return result;
}

SpeechClip SpeechModel::clip(const Tensor& reference, const Tensor& motion, const Tensor& pose, int64_t frames) const {
  kernels::check_shape("SpeechModel", "reference", reference, {config.wan.in_dim, 1, kernels::kAny, kernels::kAny});
  const int64_t h = reference.size(2), w = reference.size(3);
  if (motion.defined()) kernels::check_shape("SpeechModel", "motion", motion, {config.wan.in_dim, kernels::kAny, h, w});
  if (pose.defined()) kernels::check_shape("SpeechModel", "pose", pose, {config.cond_dim, frames, h, w});
  TORCH_CHECK(frames >= 1 && frames <= kReferenceTime, "[SpeechModel] a clip must have 1 to ", kReferenceTime,
              " latent frames, got ", frames);
  std::vector<Tensor> still = {patch_embedding(reference) + trainable_cond_mask.tensor()[kReference]};
  if (motion.defined()) still.push_back(frame_packer(motion) + trainable_cond_mask.tensor()[kMotion]);
  const auto& patch = WanConfig::kPatch;
  Tensor positions = speech_positions(frames, h / patch[1], w / patch[2], motion.defined());
  return {at::cat(still, 1), pose, kernels::make_rope(positions, config.wan.head_dim(), device(), head.head.compute)};
}

Pass SpeechModel::begin(const SpeechClip& clip, double t) const {
  const int64_t all = clip.rope.tokens();
  return {clip.rope, {all - clip.still.size(1), all}, time({t, 0})};
}

Tensor SpeechModel::embed(const Tensor& latent, const SpeechClip& clip) const {
  kernels::check_shape("embed", "latent", latent, {config.wan.in_dim, kernels::kAny, kernels::kAny, kernels::kAny});
  Tensor noisy = patch_embedding(latent);
  // Without a pose video the condition is zero latents, of which the convolution leaves its bias.
  noisy += clip.pose.defined() ? cond_encoder(clip.pose) : cond_encoder.bias.tensor();
  noisy += trainable_cond_mask.tensor()[kNoisy];
  return at::cat({noisy, clip.still}, 1);
}

void SpeechModel::block(int64_t i, std::span<Branch> branches, at::ArrayRef<const AudioContext*> audio,
                        const Pass& pass) const {
  {
    const StreamedBlocks::Use there = use_block(streamed, i);
    run_block(blocks.at(size_t(i)), i, branches, pass);
  }
  const auto& layers = config.audio_inject_layers;
  const auto layer = std::find(layers.begin(), layers.end(), i);
  if (layer == layers.end()) return;
  const auto j = size_t(layer - layers.begin());
  for (size_t k = 0; k < branches.size(); ++k) {
    Tensor noisy = branches[k].x.narrow(1, 0, pass.ends[0]);
    const InjectedAudio& sound = audio[k]->at(j);
    Tensor heard = injectors[j].attend(injectors[j].adain(noisy, sound), sound);
    kernels::gated_residual_(noisy, heard.flatten(0, 1).unsqueeze(0), {}, {pass.ends[0]}, head.modulation.context());
  }
}

Tensor SpeechModel::velocity(const Tensor& x, const Pass& pass, const Tensor& latent) const {
  const int64_t noisy = pass.ends[0];
  Tensor patches = head(x.narrow(1, 0, noisy), pass.time.e.narrow(0, 0, 1), {noisy});
  return unpatchify(patches.squeeze(0), WanConfig::kPatch, latent.size(1), latent.size(2), latent.size(3));
}

std::vector<Tensor> SpeechModel::operator()(const Tensor& latent, const SpeechClip& clip, double t,
                                            at::ArrayRef<Context*> contexts, at::ArrayRef<const AudioContext*> audio,
                                            kernels::SkipSoftmax* skip, const SeeBranch* ends) const {
  Pass pass = begin(clip, t);
  pass.skip = skip;
  std::vector<Branch> branches;
  Tensor x = embed(latent, clip);
  for (Context* context : contexts) branches.push_back({x, context});
  x.reset();
  for (size_t i = 0; i < blocks.size(); ++i) block(int64_t(i), branches, audio, pass);
  std::vector<Tensor> velocities;
  for (size_t k = 0; k < branches.size(); ++k) {
    if (ends) (*ends)(k, branches[k].x.narrow(1, 0, pass.ends[0]));
    velocities.push_back(velocity(branches[k].x, pass, latent));
  }
  return velocities;
}

}  // namespace wan
