// Rows of the transformer, exact and in the lower precisions. A forward in float64 at 75,600 tokens would take an hour,
// so the error is that of the same network, cut after a few layers, on one small frame against itself in float32 with
// ATen's operations.
#include <ATen/ATen.h>

#include "kernels/attention/int8_attention.h"
#include "kernels/op/context.h"
#include "models/wan/model.h"
#include "tools/bench/networks.h"

namespace wan::bench {
namespace {

constexpr uint64_t kSeed = 1;
/// Layers of the network that is compared with float32.
constexpr int64_t kCheckedLayers = 2;
constexpr double kTime = 900;

struct Transformer {
  WanModel model;
  Tensor states;

  Transformer(const Site& site, int64_t layers, at::ScalarType compute, Precision precision)
      : model(make(site, layers, compute, precision)),
        states(at::randn({site.config.text_len / 4, kTextDim}, at::TensorOptions(site.device).dtype(at::kFloat))) {}

  static WanModel make(const Site& site, int64_t layers, at::ScalarType compute, Precision precision) {
    at::manual_seed(kSeed);
    WanConfig config = site.config;
    config.num_layers = layers;
    Weights weights(draw_on(site.device, compute), Place::on(site.device, compute, precision, site.context),
                    transformer_shapes(config));
    return WanModel(weights.root(), config, compute);
  }
};

Tensor latent_of(const Site& site, const Resolution& at) {
  return at::randn({site.config.in_dim, at.frames, 2 * at.rows, 2 * at.columns},
                   at::TensorOptions(site.device).dtype(at::kFloat));
}

/// The site with kernels of other options, or with other instructions in 8-bit products.
Site with_context(Site site, const kernels::Options& options, kernels::Instructions instructions) {
  const at::Device device = site.is_cuda() ? at::Device(at::kCUDA, 0) : site.device;
  auto context = kernels::make_context(options, device);
  if (instructions == kernels::Instructions::Wgmma) context->pin({{kernels::kEightBits, "wgmma"}});
  site.context = std::move(context);
  return site;
}

Site without_fusion(const Site& site) {
  return with_context(site, {.reference = true}, kernels::Instructions::Mma);
}

double network_error(const Site& site, const NetworkSizes& sizes, bool fused, Precision precision) {
  const Resolution frame = {"check", 1, sizes.check.first, sizes.check.second};
  const auto velocity = [&](const Site& on, at::ScalarType compute, Precision precision) {
    Transformer network(on, kCheckedLayers, compute, precision);
    const Tensor latent = latent_of(on, frame);
    Context context = network.model.context(network.states);
    return network.model(latent, network.model.rope(latent), kTime, {&context})[0];
  };
  const Site plain = without_fusion(site);
  const Tensor want = velocity(plain, at::kFloat, Precision::Exact);
  return relative_l2(fused ? velocity(site, site.dtype, precision) : velocity(plain, site.dtype, Precision::Exact),
                     want);
}

/// Whether a run's output holds no NaN; its error is that of the small twin.
std::function<double(const Tensor&)> finite_or(double error) {
  return [error](const Tensor& out) {
    return at::isfinite(out.sum()).item<bool>() ? error : std::numeric_limits<double>::infinity();
  };
}

std::string checked_on(const NetworkSizes& sizes) {
  return "error of " + std::to_string(kCheckedLayers) + " layers on " +
         std::to_string(sizes.check.first * sizes.check.second) + " tokens";
}

/// The largest error with which a network of this precision counts as right.
double bound_of(Precision precision) {
  return precision == Precision::Exact ? 3e-2 : 8e-2;
}

/// A lower precision, and the instructions of its 8-bit products.
struct Lower {
  std::string name;
  Precision precision;
  kernels::Instructions instructions;
};

/// Those that these sizes and the site have.
std::vector<Lower> lower_precisions(const Site& site) {
  using kernels::Instructions;
  if (site.config.head_dim() != kernels::kInt8HeadWidth) return {};
  std::vector<Lower> all = {{"balanced", Precision::Balanced, Instructions::Mma},
                            {"fast", Precision::Fast, Instructions::Mma}};
  for (const auto& [name, instructions] : own_instructions(site)) {
    if (instructions == Instructions::Mma) continue;
    all.push_back({"balanced, " + name, Precision::Balanced, instructions});
    all.push_back({"fast, " + name, Precision::Fast, instructions});
  }
  return all;
}

/// The site with the instructions of this precision.
Site with_instructions(const Site& site, const Lower& lower) {
  return with_context(site, site.context->options(), lower.instructions);
}

using Run = std::function<Tensor(size_t set)>;

/// A block of its own, and one pass of one branch through it.
Run block_run(const Site& site, const Resolution& at, Precision precision) {
  auto network = std::make_shared<Transformer>(site, 1, site.dtype, precision);
  const Tensor latent = latent_of(site, at);
  auto context = std::make_shared<Context>(network->model.context(network->states));
  const Pass pass = network->model.begin(network->model.rope(latent), kTime);
  return [=, x = network->model.embed(latent)](size_t) {
    std::vector<Branch> branch = {{x, context.get()}};
    network->model.block(0, branch, pass);
    return branch[0].x;
  };
}

Contest block_contest(const Site& site, const NetworkSizes& sizes, const Resolution& at) {
  const Run run = block_run(site, at, Precision::Exact);
  const Run plain = block_run(without_fusion(site), at, Precision::Exact);
  Contest contest{.flops = block_flops(site.config, double(at.tokens())),
                  .bytes = 0,
                  .ceiling = "bf16",
                  .error = finite_or(network_error(site, sizes, true, Precision::Exact)),
                  .bound = bound_of(Precision::Exact),
                  .contestants = {}};
  contest.contestants.push_back({"fused", true, run, checked_on(sizes)});
  contest.contestants.push_back({"ATen", false, plain, checked_on(sizes) + ", fused"});
  return contest;
}

Contest lower_block_contest(const Site& site, const NetworkSizes& sizes, const Resolution& at, const Lower& lower) {
  const Site own = with_instructions(site, lower);
  return {.flops = block_flops(site.config, double(at.tokens())),
          .bytes = 0,
          .ceiling = "bf16",
          .error = finite_or(network_error(own, sizes, true, lower.precision)),
          .bound = bound_of(lower.precision),
          .contestants = {{"fused", true, block_run(own, at, lower.precision), checked_on(sizes)}}};
}

/// A forward of so many branches; the last one's velocity.
Run step_run(const Site& site, const Resolution& at, int64_t branches, Precision precision) {
  auto network = std::make_shared<Transformer>(site, site.config.num_layers, site.dtype, precision);
  const Tensor latent = latent_of(site, at);
  auto contexts = std::make_shared<std::vector<Context>>();
  for (int64_t i = 0; i < branches; ++i) contexts->push_back(network->model.context(network->states));
  return [=, rope = network->model.rope(latent)](size_t) {
    std::vector<Context*> each;
    for (Context& context : *contexts) each.push_back(&context);
    return network->model(latent, rope, kTime, each).back();
  };
}

Contest step_contest(const Site& site, const NetworkSizes& sizes, const Resolution& at, int64_t branches,
                     Precision precision, double error) {
  return {.flops = double(branches * site.config.num_layers) * block_flops(site.config, double(at.tokens())),
          .bytes = 0,
          .ceiling = "bf16",
          .error = finite_or(error),
          .bound = bound_of(precision),
          .contestants = {{"wan-infer", true, step_run(site, at, branches, precision), checked_on(sizes)}}};
}

}  // namespace

std::function<void()> forward_run(const Site& site, const Resolution& at, Precision precision, int64_t branches) {
  return [run = step_run(site, at, branches, precision)] { run(0); };
}

double block_flops(const WanConfig& c, double tokens) {
  const double dim = double(c.dim), text = double(c.text_len);
  return 2 * tokens * dim * (6 * dim + 2 * double(c.ffn_dim)) + 4 * tokens * tokens * dim + 4 * tokens * text * dim;
}

std::vector<Plan> block_plans(const Site& site, const NetworkSizes& sizes) {
  std::vector<Plan> plans;
  for (const Resolution& at : site.resolutions) {
    plans.push_back({"block", "transformer block", at.shape(), [=] { return block_contest(site, sizes, at); }});
    for (const Lower& lower : lower_precisions(site))
      plans.push_back({"block", "transformer block, " + lower.name, at.shape(),
                       [=] { return lower_block_contest(site, sizes, at, lower); }});
  }
  return plans;
}

std::vector<Plan> step_plans(const Site& site, const NetworkSizes& sizes) {
  std::vector<Plan> plans;
  for (const Resolution& at : site.resolutions) {
    const auto exact = [&](const char* name, int64_t branches) {
      plans.push_back({"step", name, at.shape(), [=] {
                         const double error = network_error(site, sizes, true, Precision::Exact);
                         return step_contest(site, sizes, at, branches, Precision::Exact, error);
                       }});
    };
    exact("forward", 1);
    for (const Lower& lower : lower_precisions(site))
      plans.push_back({"step", "forward, " + lower.name, at.shape(), [=] {
                         const Site own = with_instructions(site, lower);
                         const double error = network_error(own, sizes, true, lower.precision);
                         return step_contest(own, sizes, at, 1, lower.precision, error);
                       }});
    exact("forward, both guidance branches", 2);  // the longest, and the most like what is known by then
  }
  return plans;
}

}  // namespace wan::bench
