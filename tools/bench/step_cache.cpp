// What a step cache costs at a transformer's width: keeping a residual behind a computed forward, and reusing it.
#include "tools/bench/step_cache.h"

#include <ATen/ATen.h>

#include <limits>
#include <memory>

#include "models/wan/model.h"
#include "models/wan/residual.h"

namespace wan::bench {
namespace {

constexpr double kTime = 900;

/// A transformer without blocks, and one branch of one step.
struct Outside {
  WanModel model;
  Tensor latent, tokens, residual;
  Rope rope;

  static WanModel make(const Site& site) {
    at::manual_seed(1);
    WanConfig config = site.config;
    config.num_layers = 0;
    Weights weights(draw_on(site.device, site.dtype),
                    Place::on(site.device, site.dtype, Precision::Exact, site.context), transformer_shapes(config));
    return WanModel(weights.root(), config, site.dtype);
  }

  Outside(const Site& site, const Resolution& at)
      : model(make(site)),
        latent(at::randn({site.config.in_dim, at.frames, 2 * at.rows, 2 * at.columns},
                         at::TensorOptions(site.device).dtype(at::kFloat))),
        tokens(at::randn({1, at.tokens(), site.config.dim}, at::TensorOptions(site.device).dtype(at::kFloat))),
        residual(residual_of(tokens, model.embed(latent), at::kBFloat16)),
        rope(model.rope(latent)) {}
};

/// A result without NaN counts as right: the arithmetic is that of tests/engine/step_cache_test.cpp.
Contest contest(double bytes, std::function<Tensor(size_t set)> run) {
  return {.flops = 0,
          .bytes = bytes,
          .ceiling = "copy",
          .error =
              [](const Tensor& out) {
                return at::isfinite(out.sum(at::kFloat)).item<bool>() ? 0 : std::numeric_limits<double>::infinity();
              },
          .bound = 1e-9,
          .contestants = {{"wan-infer", true, std::move(run)}}};
}

}  // namespace

std::function<Tensor()> keeping(const Site& site, const Resolution& at) {
  return [made = std::make_shared<Outside>(site, at)] {
    return residual_of(made->tokens, made->model.embed(made->latent), at::kBFloat16);
  };
}

std::function<Tensor()> reusing(const Site& site, const Resolution& at) {
  return [made = std::make_shared<Outside>(site, at)] {
    const WanModel& model = made->model;
    const Tensor tokens = with_residual(model.embed(made->latent), made->residual);
    Tensor velocity = model.velocity(tokens, model.begin(made->rope, kTime), made->latent);
    velocity.isfinite().all().item<bool>();
    return velocity;
  };
}

std::vector<Plan> step_cache_plans(const Site& site) {
  std::vector<Plan> plans;
  for (const Resolution& at : site.resolutions) {
    // Tokens in float32 and a residual in 16 bits, each once.
    const double bytes = double(at.tokens() * site.config.dim) * (4 + 2);
    plans.push_back({"block", "step cache, keep", at.shape(),
                     [=] { return contest(bytes, [run = keeping(site, at)](size_t) { return run(); }); }});
    plans.push_back({"block", "step cache, reuse", at.shape(),
                     [=] { return contest(bytes, [run = reusing(site, at)](size_t) { return run(); }); }});
  }
  return plans;
}

}  // namespace wan::bench
