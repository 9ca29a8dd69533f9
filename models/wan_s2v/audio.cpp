#include "models/wan_s2v/audio.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/check.h"
#include "kernels/op/pieces.h"
#include "models/wan_s2v/tokens.h"

namespace wan {
namespace {

constexpr int64_t kKernel = 3;
/// The encoder's norms take the blocks' epsilon, AdaIN's takes diffusers' default.
constexpr double kEncoderEps = 1e-6, kAdainEps = 1e-5;

/// LayerNorm over channels without parameters, then SiLU: [B, C, T] -> the same.
Tensor norm_silu(const Tensor& x) {
  const Tensor normed = at::layer_norm(x.transpose(1, 2), {x.size(1)}, {}, {}, kEncoderEps).contiguous();
  kernels::elementwise_(normed, [](Tensor& piece) { at::silu_(piece); });
  return normed.transpose(1, 2);
}

}  // namespace

CausalAudioEncoder::Convolution::Convolution(const Scope& at, int64_t in, int64_t out, int64_t stride)
    : weight((at / "conv").take("weight", {out, in, kKernel}, Role::Float32)),
      bias((at / "conv").take("bias", {out}, Role::Float32)),
      stride(stride) {}

Tensor CausalAudioEncoder::Convolution::operator()(const Tensor& x) const {
  const Tensor padded = at::replication_pad1d(x, {kKernel - 1, 0}), taps = weight.tensor().to(x.scalar_type()),
               offset = bias.tensor().to(x.scalar_type());
  if (!x.is_cpu()) return at::conv1d(padded, taps, offset, stride);
  // A matrix product for each tap: its bytes do not depend on the number of threads.
  const int64_t frames = (x.size(2) - 1) / stride + 1;
  const Tensor rows = padded.transpose(1, 2).contiguous();
  std::vector<kernels::Product> products;
  for (int64_t tap = 0; tap < kKernel; ++tap) {
    const Tensor seen = rows.narrow(1, tap, (frames - 1) * stride + 1).slice(1, 0, rows.size(1), stride);
    products.push_back({seen.reshape({-1, x.size(1)}), taps.select(2, tap).contiguous()});
  }
  return kernels::sum_of_products(products, offset).view({x.size(0), frames, -1}).transpose(1, 2);
}

CausalAudioEncoder::CausalAudioEncoder(const Scope& at, const SpeechConfig& config, at::ScalarType compute)
    : num_audio_token_(config.num_audio_token),
      dtype_(float32_dtype(compute)),
      // How many hidden states are mixed no config says.
      weights_(
          at.take("weights", {1, at.shape("weights").size() == 4 ? at.shape("weights")[1] : 1, 1, 1}, Role::Float32)),
      conv1_local_(at / "encoder" / "conv1_local", config.audio_dim, config.wan.dim / 4 * num_audio_token_, 1),
      conv1_global_(at / "encoder" / "conv1_global", config.audio_dim, config.wan.dim / 4, 1),
      conv2_(at / "encoder" / "conv2", config.wan.dim / 4, config.wan.dim / 2, 2),
      conv3_(at / "encoder" / "conv3", config.wan.dim / 2, config.wan.dim, 2),
      final_linear_(at / "encoder" / "final_linear", config.wan.dim, config.wan.dim, dtype_, Bias::Yes, Role::Float32),
      padding_tokens_((at / "encoder").take("padding_tokens", {1, 1, 1, config.wan.dim}, Role::Float32)) {}

Tensor CausalAudioEncoder::mix(const Tensor& features) const {
  kernels::check_shape("CausalAudioEncoder", "features", features,
                       {weights_.size(1), conv1_global_.weight.size(1), kernels::kAny});
  Tensor weight = at::silu(weights_.tensor().to(dtype_).view({-1, 1, 1}));
  Tensor mixed = (features.to(dtype_) * weight).sum(0) / weight.sum();
  return at::cat({mixed.narrow(1, 0, 1).expand({-1, kMotionFrames}), mixed}, 1);
}

Tensor CausalAudioEncoder::tail(const Tensor& x) const {
  return norm_silu(conv3_(norm_silu(conv2_(norm_silu(x))))).transpose(1, 2);
}

AudioTokens CausalAudioEncoder::operator()(const Tensor& features) const {
  TORCH_CHECK(features.size(-1) > 0 && features.size(-1) % 4 == 0,
              "[CausalAudioEncoder] features must have a multiple of 4 frames, got ", features.size(-1));
  Tensor mixed = mix(features).unsqueeze(0);
  // Each token is a stream of its own: a group of channels of the first convolution.
  Tensor streams = conv1_local_(mixed)[0].unflatten(0, {num_audio_token_, -1});
  Tensor local = tail(streams).transpose(0, 1);
  Tensor padding = padding_tokens_.tensor().to(dtype_)[0].expand({local.size(0), 1, -1});
  return {at::cat({local, padding}, 1), final_linear_(tail(conv1_global_(mixed)))[0]};
}

AudioInjector::AudioInjector(const Scope& at, int64_t index, const WanConfig& config, at::ScalarType compute)
    : compute(compute),
      injector(at / "injector" / index, config, compute),
      adain_linear(at / "injector_adain_layers" / index / "linear", config.dim, 2 * config.dim, compute) {}

InjectedAudio AudioInjector::prepare(const AudioTokens& audio) const {
  std::vector<Tensor> rows = adain_linear(at::silu(audio.global)).to(float32_dtype(compute)).chunk(2, -1);
  return {injector.key_value(audio.local), rows[0].contiguous(), rows[1].contiguous()};
}

Tensor AudioInjector::adain(const Tensor& noisy, const InjectedAudio& audio) const {
  const int64_t frames = audio.shift.size(0), tokens = noisy.size(1) / frames;
  kernels::Segments ends;
  for (int64_t frame = 1; frame <= frames; ++frame) ends.push_back(frame * tokens);
  return kernels::modulated_layer_norm(noisy, audio.shift, audio.scale, ends, kAdainEps, compute,
                                       adain_linear.weight.context())
      .view({frames, tokens, -1});
}

}  // namespace wan
