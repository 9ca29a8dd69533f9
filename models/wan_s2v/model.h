// The speech-to-video transformer: the blocks of the other tasks over noisy, reference and motion tokens, with sound
// injected between them. Source: WanModel_S2V, wan/modules/s2v/model_s2v.py.
#pragma once

#include "models/wan/model.h"
#include "models/wan_s2v/audio.h"
#include "models/wan_s2v/tokens.h"

namespace wan {

/// What stays the same for all steps and both guidance branches of a clip.
struct SpeechClip {
  Tensor still;  // tokens of the reference image and of the past: [1, tokens, dim] float32
  Tensor pose;   // [cond_dim, F, h, w]; undefined without a pose video
  Rope rope;     // of all tokens
};

/// A clip's sound, for each injector; one for the speech and one for silence, which guidance steers away from.
using AudioContext = std::vector<InjectedAudio>;

struct SpeechModel {
  /// Takes every tensor of the transformer from `root`; Weights::finish then tells what was missing or left over.
  SpeechModel(const Scope& root, const SpeechConfig& config, at::ScalarType compute);

  /// Where the weights are; inputs must be there.
  at::Device device() const { return head.modulation.device(); }

  /// States of the text encoder [n, text_dim], n <= text_len -> the prompt's context.
  Context context(const Tensor& states) const;
  /// Hidden states of the clip's video frames [states, audio_dim, 4 F] -> its sound. Zeros are silence: they
  /// still give tokens, through the biases.
  AudioContext audio(const Tensor& features) const;
  /// reference [16, 1, h, w]; motion [16, up to 19, h, w] oldest first, or undefined for a first clip, which has no
  /// motion tokens; pose [cond_dim, F, h, w] or undefined; `frames` F <= 30. h and w are multiples of 8 where there is
  /// motion.
  SpeechClip clip(const Tensor& reference, const Tensor& motion, const Tensor& pose, int64_t frames) const;
  /// `t` is 1000 sigma; it is the noisy tokens' time, all others stand at 0.
  Pass begin(const SpeechClip& clip, double t) const;

  /// Latent [in_dim, F, h, w] -> tokens [1, L, dim] float32: noisy, reference, motion.
  Tensor embed(const Tensor& latent, const SpeechClip& clip) const;
  /// Block i of all branches, then its injector where it has one. `audio` has the sound of each branch.
  void block(int64_t i, std::span<Branch> branches, at::ArrayRef<const AudioContext*> audio, const Pass& pass) const;
  /// x [1, L, dim], of which the noisy tokens count -> velocity [out_dim, F, h, w] float32 on the grid of `latent`.
  Tensor velocity(const Tensor& x, const Pass& pass, const Tensor& latent) const;

  /// embed, all blocks, head: a velocity for each context and sound. `skip`: as WanModel's. `ends`: sees the noisy tokens
  /// of each branch before its head, [1, F h w / 4, dim].
  std::vector<Tensor> operator()(const Tensor& latent, const SpeechClip& clip, double t,
                                 at::ArrayRef<Context*> contexts, at::ArrayRef<const AudioContext*> audio,
                                 kernels::SkipSoftmax* skip = nullptr, const SeeBranch* ends = nullptr) const;

  SpeechConfig config;
  PatchEmbedding patch_embedding, cond_encoder;
  FramePacker frame_packer;
  Weight trainable_cond_mask;  // [3, dim]: added to noisy, reference and motion tokens
  Mlp text_embedding;
  TimeEmbedding time;
  CausalAudioEncoder casual_audio_encoder;  // spelt as in the checkpoint
  std::vector<AttentionBlock> blocks;
  std::vector<AudioInjector> injectors;
  WanHead head;
  std::shared_ptr<StreamedBlocks> streamed = nullptr;  // as WanModel's
};

}  // namespace wan
