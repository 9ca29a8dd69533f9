// How sound enters the speech-to-video transformer: tokens and a global vector for each latent frame, injected after
// some blocks. Source: CausalAudioEncoder and MotionEncoder_tc (wan/modules/s2v/audio_utils.py, auxi_blocks.py),
// AudioInjector_WAN.
#pragma once

#include "kernels/norm/norm.h"
#include "models/wan/attention.h"
#include "models/wan_s2v/config.h"

namespace wan {

/// What the audio encoder makes of a clip, in float32.
struct AudioTokens {
  Tensor local;   // [F, num_audio_token + 1, dim]; the last one is the learned padding token
  Tensor global;  // [F, dim]
};

/// Mixes the hidden states and convolves them from video to latent frames, causally, in float32.
struct CausalAudioEncoder {
  CausalAudioEncoder(const Scope& at, const SpeechConfig& config, at::ScalarType compute);

  /// Hidden states of video frames, after 73 copies of the first: [states, audio_dim, N] -> their mix [audio_dim, 73 +
  /// N].
  Tensor mix(const Tensor& features) const;
  /// The same -> tokens of 19 + N / 4 latent frames, the first 19 of them of the copies. N a multiple of 4.
  AudioTokens operator()(const Tensor& features) const;

 private:
  /// Causal convolution: the left edge repeated twice.
  struct Convolution {
    Convolution(const Scope& at, int64_t in, int64_t out, int64_t stride);
    /// x [B, in, T] -> [B, out, ceil(T / stride)].
    Tensor operator()(const Tensor& x) const;

    Weight weight, bias;
    int64_t stride;
  };
  /// The shared half: x [B, dim / 4, T] of the first convolution -> [B, T / 4 rounded up, dim].
  Tensor tail(const Tensor& x) const;

  int64_t num_audio_token_;
  at::ScalarType dtype_;
  Weight weights_;  // [1, states, 1, 1]: the mix
  Convolution conv1_local_, conv1_global_, conv2_, conv3_;
  Linear final_linear_;
  Weight padding_tokens_;  // [1, 1, 1, dim]
};

/// A clip's sound as one injector uses it: the same for all steps.
struct InjectedAudio {
  KeyValue tokens;      // of each latent frame: [F, num_audio_token + 1, heads, head_dim]
  Tensor shift, scale;  // [F, dim] float32
};

/// After a block: x += attention from the video tokens of each latent frame, modulated by the global vector, to that
/// frame's audio tokens.
struct AudioInjector {
  /// Injector `index` under `at`, which is "audio_injector".
  AudioInjector(const Scope& at, int64_t index, const WanConfig& config, at::ScalarType compute);

  InjectedAudio prepare(const AudioTokens& audio) const;
  /// LayerNorm and modulation by the global vector: noisy [1, F * n, dim] float32 -> [F, n, dim] in `compute`.
  Tensor adain(const Tensor& noisy, const InjectedAudio& audio) const;
  /// adain(noisy) -> what is added to the tokens, [F, n, dim].
  Tensor attend(const Tensor& modulated, const InjectedAudio& audio) const { return injector(modulated, audio.tokens); }

  at::ScalarType compute;
  CrossAttention injector;
  Linear adain_linear;
};

}  // namespace wan
