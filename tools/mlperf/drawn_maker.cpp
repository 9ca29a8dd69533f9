#include "tools/mlperf/drawn_maker.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "models/vae/frames.h"

namespace wan::mlperf {
namespace {

constexpr uint64_t kHighSeed = 1, kLowSeed = 2, kOtherSeed = 3;

/// The precision of everything but the transformers' blocks.
Place plain_place(const bench::Site& site, at::ScalarType dtype) {
  return Place::on(site.device, dtype, Precision::Exact, site.context);
}

/// `new` makes the network in its place: it is neither copied nor moved.
WanModel* draw_expert(const bench::Site& site, const DrawnSizes& sizes, Precision precision, uint64_t seed) {
  at::manual_seed(seed);
  Weights weights(bench::draw_on(site.device, site.dtype), Place::on(site.device, site.dtype, precision, site.context),
                  bench::transformer_shapes(sizes.config, sizes.t5.dim));
  return new WanModel(weights.root(), sizes.config, site.dtype);
}

Umt5Encoder* draw_encoder(const bench::Site& site, const DrawnSizes& sizes) {
  at::manual_seed(kOtherSeed);
  Weights weights(bench::draw_on(site.device, site.dtype), plain_place(site, site.dtype), bench::umt5_shapes(sizes.t5));
  return new Umt5Encoder(weights.root(), site.dtype);
}

vae::Vae* draw_vae(const bench::Site& site, const DrawnSizes& sizes) {
  at::manual_seed(kOtherSeed);
  const at::ScalarType dtype = site.is_cuda() ? at::kHalf : at::kFloat;  // as the engine begins
  Weights weights(bench::draw_on(site.device, at::kFloat), plain_place(site, at::kFloat));
  return new vae::Vae(weights.root(), vae::Widths{.base = sizes.vae_base}, vae::Options{dtype});
}

at::Device with_index(const bench::Site& site) {
  return site.is_cuda() ? at::Device(at::kCUDA, 0) : site.device;
}

}  // namespace

DrawnSizes small_sizes() {
  return {.config = {.dim = 64,
                     .ffn_dim = 96,
                     .freq_dim = 32,
                     .in_dim = 16,
                     .out_dim = 16,
                     .num_heads = 2,
                     .num_layers = 2,
                     .text_len = 32,
                     .eps = 1e-6},
          .t5 = {.vocabulary = 256, .dim = 16, .inner = 16, .heads = 2, .hidden = 24, .layers = 2},
          .vae_base = 4};
}

DrawnMaker::DrawnMaker(const bench::Site& site, const DrawnSizes& sizes, const Settings& settings, Precision precision)
    : sizes_(sizes), settings_(settings), precision_(precision), device_(with_index(site)) {
  encoder_.reset(draw_encoder(site, sizes));
  vae_.reset(draw_vae(site, sizes));
  high_.reset(draw_expert(site, sizes, precision, kHighSeed));
  try {
    low_.reset(draw_expert(site, sizes, precision, kLowSeed));
  } catch (const c10::OutOfMemoryError&) {
    low_ = high_;
  }
}

std::string DrawnMaker::weights() const {
  std::string text = sizes_.are_official() ? "drawn" : "drawn, of small networks";
  if (low_ == high_) text += "; one expert stands for both, two have no room";
  return text;
}

std::string DrawnMaker::precision() const {
  return precision_ == Precision::Fast ? "fast" : precision_ == Precision::Balanced ? "balanced" : "exact";
}

Work DrawnMaker::work() const {
  const auto [channels, frames, height, width] = settings_.latent_shape();
  return {double(sizes_.config.num_layers) * bench::block_flops(sizes_.config, double(settings_.tokens())),
          sizes_.are_official() ? bench::decode_flops(frames, height, width) : 0};
}

Tensor DrawnMaker::text(const std::string& prompt) {
  constexpr size_t kBytesOfAToken = 4;
  std::vector<int64_t> ids;
  for (size_t i = 0; i < prompt.size() && int64_t(ids.size()) + 1 < sizes_.config.text_len; i += kBytesOfAToken)
    ids.push_back(2 + (37 * int64_t(static_cast<unsigned char>(prompt[i])) + int64_t(i)) % (sizes_.t5.vocabulary - 2));
  ids.push_back(1);  // </s>
  return (*encoder_)(ids);
}

void DrawnMaker::begin(const Tensor& positive, const Tensor& negative, const Schedule&) {
  positive_states_ = positive;
  negative_states_ = negative;
  whose_.reset();
}

kernels::Velocity DrawnMaker::velocity(const Step& step, const Tensor& x) {
  const WanModel& expert = step.high ? *high_ : *low_;
  if (whose_ != step.high) {
    positive_.reset();
    negative_.reset();
    whose_ = step.high;
  }
  // As the engine does (engine/sampling/guidance.cpp).
  const bool guided = step.guidance != 1;
  if (!positive_) positive_ = expert.context(positive_states_);
  if (guided && !negative_) negative_ = expert.context(negative_states_);
  if (!rope_) rope_ = expert.rope(x);
  std::vector<Context*> contexts = {&*positive_};
  if (guided) contexts.push_back(&*negative_);
  const std::vector<Tensor> found = expert(x, *rope_, step.t, contexts);
  if (!guided) return {found[0]};
  return {found[0], found[1], step.guidance};
}

void DrawnMaker::decode(const Tensor& latents, int64_t frames, const TakeFrames& take) {
  vae::DecoderStream stream(vae_->decoder);
  int64_t done = 0;
  for (int64_t t = 0; done < frames; ++t) {
    const Tensor rgb = vae::to_uint8(stream.next(latents.narrow(1, t, 1))).cpu();
    take(rgb);
    done += rgb.size(0);
  }
}

}  // namespace wan::mlperf
