// The passes between the matrix products, and the one between two forwards: fused against the same chain of ATen
// operations.
#include <ATen/ATen.h>

#include <memory>

#include "kernels/norm/norm_cuda.h"
#include "kernels/rope/rope.h"
#include "kernels/step/solver_step.h"
#include "tools/bench/ops.h"

namespace wan::bench {
namespace {

constexpr double kEps = 1e-6;

/// The modulation rows of one segment.
Tensor modulation_row(const Site& site) {
  return at::randn({1, site.config.dim}, at::TensorOptions(site.device).dtype(at::kFloat)) * 0.1;
}

Tensor stream(const Site& site, int64_t tokens) {
  return at::randn({1, tokens, site.config.dim}, at::TensorOptions(site.device).dtype(at::kFloat));
}

Contest memory_bound(double bytes, const Tensor& rows, const Tensor& want, size_t sets) {
  return {.flops = 0,
          .bytes = bytes,
          .ceiling = "copy",
          .sets = sets,
          .error = [rows, want](const Tensor& y) { return relative_l2(y.index_select(1, rows), want); },
          .bound = 4e-3,
          .contestants = {}};
}

Contest modulated_norm(const Site& site, int64_t tokens) {
  const double bytes = double(tokens * site.config.dim) * (4 + double(at::elementSize(site.dtype)));
  std::vector<Tensor> x(rotation(bytes));
  for (Tensor& one : x) one = stream(site, tokens);
  const Tensor shift = modulation_row(site), scale = modulation_row(site), rows = sampled_rows(tokens, site.device);
  const Tensor want = at::layer_norm(x[0].index_select(1, rows).to(at::kDouble), {site.config.dim}, {}, {}, kEps) *
                          (1 + scale.to(at::kDouble)) +
                      shift.to(at::kDouble);
  Contest contest = memory_bound(bytes, rows, want, x.size());
  const at::ScalarType dtype = site.dtype;
  contest.contestants = {
      {"fused", true,
       [=](size_t set) {
         return kernels::modulated_layer_norm(x[set], shift, scale, {tokens}, kEps, dtype, *site.context);
       }},
      {"ATen", false, [=](size_t set) {
         return kernels::reference::modulated_layer_norm(x[set], shift, scale, {tokens}, kEps, dtype);
       }}};
  return contest;
}

/// Each contestant adds to a stream of its own, launch after launch; the gate keeps it small.
Contest residual_norm(const Site& site, int64_t tokens) {
  const double bytes = double(tokens * site.config.dim) * (8 + 2 * double(at::elementSize(site.dtype)));
  const Tensor x = stream(site, tokens), y = site.randn(x.sizes()), gate = modulation_row(site) * 0.1;
  const kernels::NextNorm next{
      .weight = {}, .bias = {}, .shift = modulation_row(site), .scale = modulation_row(site), .eps = kEps};
  const Tensor rows = sampled_rows(tokens, site.device);
  const Tensor sum =
      x.index_select(1, rows).to(at::kDouble) + gate.to(at::kDouble) * y.index_select(1, rows).to(at::kDouble);
  const Tensor want = at::layer_norm(sum, {site.config.dim}, {}, {}, kEps) * (1 + next.scale.to(at::kDouble)) +
                      next.shift.to(at::kDouble);
  Contest contest = memory_bound(bytes, rows, want, 1);
  const at::ScalarType dtype = site.dtype;
  contest.contestants = {{"fused", true,
                          [=, own = x.clone()](size_t) mutable {
                            return kernels::gated_residual_norm_(own, y, gate, next, {tokens}, dtype, *site.context);
                          }},
                         {"ATen", false, [=, own = x.clone()](size_t) mutable {
                            return kernels::reference::gated_residual_norm_(own, y, gate, next, {tokens}, dtype);
                          }}};
  return contest;
}

/// A contestant that makes codes. Its error, over the same rows as the contest's, is that of what they stand for.
Contestant coded(const char* name, bool ours, const Tensor& rows, std::function<kernels::QuantisedRows(size_t)> run,
                 const char* note = "") {
  auto scale = std::make_shared<Tensor>();
  return {.name = name,
          .ours = ours,
          .run =
              [=](size_t set) {
                const kernels::QuantisedRows out = run(set);
                *scale = out.scale;
                return out.codes;
              },
          .note = note,
          .finish =
              [=](const Tensor& codes) {
                return kernels::rotate(codes.index_select(1, rows) * scale->index_select(1, rows).unsqueeze(-1));
              }};
}

/// Of codes from one pass: x in float32, what the residual adds and writes, a byte and a 4-byte scale.
Contest into_codes(double bytes, const Tensor& want, size_t sets) {
  return {.flops = 0,
          .bytes = bytes,
          .ceiling = "copy",
          .sets = sets,
          .error = [want](const Tensor& y) { return relative_l2(y, want); },
          .bound = 1.8e-2,
          .contestants = {}};
}

constexpr const char* kTwoPasses = "rows in 16 bits in between; GB/s of the bytes of one pass";

Contest modulated_norm_int8(const Site& site, int64_t tokens) {
  const double bytes = double(tokens) * (double(site.config.dim) * (4 + 1) + 4);
  std::vector<Tensor> x(rotation(bytes));
  for (Tensor& one : x) one = stream(site, tokens);
  const Tensor shift = modulation_row(site), scale = modulation_row(site), rows = sampled_rows(tokens, site.device);
  const Tensor want = at::layer_norm(x[0].index_select(1, rows).to(at::kDouble), {site.config.dim}, {}, {}, kEps) *
                          (1 + scale.to(at::kDouble)) +
                      shift.to(at::kDouble);
  Contest contest = into_codes(bytes, want, x.size());
  const at::ScalarType dtype = site.dtype;
  contest.contestants = {
      coded("fused", true, rows,
            [=](size_t set) {
              return kernels::modulated_layer_norm_int8(x[set], shift, scale, {tokens}, kEps, *site.context);
            }),
      coded(
          "norm, then quantise", true, rows,
          [=](size_t set) {
            return kernels::quantise_rows(
                kernels::modulated_layer_norm(x[set], shift, scale, {tokens}, kEps, dtype, *site.context),
                *site.context);
          },
          kTwoPasses),
      coded("ATen", false, rows, [=](size_t set) {
        return kernels::reference::modulated_layer_norm_int8(x[set], shift, scale, {tokens}, kEps);
      })};
  return contest;
}

Contest residual_norm_int8(const Site& site, int64_t tokens) {
  const double width = double(site.config.dim);
  const double bytes = double(tokens) * (width * (8 + double(at::elementSize(site.dtype)) + 1) + 4);
  const Tensor x = stream(site, tokens), y = site.randn(x.sizes()), gate = modulation_row(site) * 0.1;
  const kernels::NextNorm next{
      .weight = {}, .bias = {}, .shift = modulation_row(site), .scale = modulation_row(site), .eps = kEps};
  const Tensor rows = sampled_rows(tokens, site.device);
  const Tensor sum =
      x.index_select(1, rows).to(at::kDouble) + gate.to(at::kDouble) * y.index_select(1, rows).to(at::kDouble);
  const Tensor want = at::layer_norm(sum, {site.config.dim}, {}, {}, kEps) * (1 + next.scale.to(at::kDouble)) +
                      next.shift.to(at::kDouble);
  Contest contest = into_codes(bytes, want, 1);
  const at::ScalarType dtype = site.dtype;
  contest.contestants = {coded("fused", true, rows,
                               [=, own = x.clone()](size_t) mutable {
                                 return kernels::gated_residual_norm_int8_(own, y, gate, next, {tokens}, *site.context);
                               }),
                         coded(
                             "norm, then quantise", true, rows,
                             [=, own = x.clone()](size_t) mutable {
                               return kernels::quantise_rows(
                                   kernels::gated_residual_norm_(own, y, gate, next, {tokens}, dtype, *site.context),
                                   *site.context);
                             },
                             kTwoPasses),
                         coded("ATen", false, rows, [=, own = x.clone()](size_t) mutable {
                           return kernels::reference::gated_residual_norm_int8_(own, y, gate, next, {tokens});
                         })};
  return contest;
}

Contest norm_rope(const Site& site, const Resolution& at) {
  const WanConfig& c = site.config;
  const double bytes = 4.0 * double(at.tokens() * c.dim) * double(at::elementSize(site.dtype));
  std::vector<std::pair<Tensor, Tensor>> inputs(rotation(bytes));
  for (auto& [q, k] : inputs) {
    q = site.randn({1, at.tokens(), c.dim});
    k = site.randn(q.sizes());
  }
  const Tensor weight = at::randn({c.dim}, at::TensorOptions(site.device).dtype(at::kFloat)) * 0.1 + 1;
  const kernels::Rope rope =
      kernels::make_rope(kernels::grid_positions(at.frames, at.rows, at.columns), c.head_dim(), site.device);
  const Tensor rows = sampled_rows(at.tokens(), site.device);
  const kernels::Rope part = {rope.cos.index_select(0, rows).to(at::kDouble),
                              rope.sin.index_select(0, rows).to(at::kDouble)};
  const Tensor q = inputs[0].first.index_select(1, rows).to(at::kDouble);
  const Tensor normed = q / (q.square().mean(-1, true) + kEps).sqrt() * weight.to(at::kDouble);
  const Tensor want = kernels::reference::apply_rope(normed.unflatten(-1, {c.num_heads, -1}), part);
  Contest contest = memory_bound(bytes, rows, want, inputs.size());
  contest.contestants = {{"fused", true,
                          [=](size_t set) {
                            return kernels::qk_norm_rope(inputs[set].first, inputs[set].second, weight, weight, rope,
                                                         c.num_heads, kEps, *site.context)
                                .first;
                          }},
                         {"ATen", false, [=](size_t set) {
                            return kernels::reference::qk_norm_rope(inputs[set].first, inputs[set].second, weight,
                                                                    weight, rope, c.num_heads, kEps)
                                .first;
                          }}};
  return contest;
}

/// Guidance and a whole step of UniPC: six latents in, three out.
Contest solver_step(const Site& site, const Resolution& at) {
  const std::vector<int64_t> latent = {16, at.frames, 2 * at.rows, 2 * at.columns};
  const double bytes = 9 * 4 * double(c10::multiply_integers(latent));
  const auto inputs = [&] {
    std::vector<Tensor> drawn(6);
    for (Tensor& one : drawn) one = at::randn(latent, at::TensorOptions(site.device).dtype(at::kFloat));
    return drawn;
  };
  std::vector<std::vector<Tensor>> sets(rotation(bytes));
  for (std::vector<Tensor>& set : sets) set = inputs();
  const kernels::StepFactors factors{
      .velocity = -0.5, .corrector = {{0.8, 0.3, -0.2, 0.1}}, .predictor = {{0.9, 0.2, -0.1}}};
  const auto plain = [factors](const std::vector<Tensor>& x) {
    return kernels::reference::solver_step({x[0], x[1], 4}, x[2], {x[3], x[4], x[5]}, factors).next;
  };
  const auto fused = [factors, context = site.context](const std::vector<Tensor>& x) {
    return kernels::solver_step({x[0], x[1], 4}, x[2], {x[3], x[4], x[5]}, factors, *context).next;
  };
  std::vector<Tensor> wide;
  for (const Tensor& one : sets[0]) wide.push_back(one.to(at::kDouble));
  const Tensor want = plain(wide);
  return {.flops = 0,
          .bytes = bytes,
          .ceiling = "copy",
          .sets = sets.size(),
          .error = [want](const Tensor& y) { return relative_l2(y, want); },
          .bound = 1e-5,  // float32 sums
          .contestants = {{"fused", true, [=](size_t set) { return fused(sets[set]); }},
                          {"ATen", false, [=](size_t set) { return plain(sets[set]); }}}};
}

}  // namespace

std::vector<Plan> elementwise_plans(const Site& site) {
  std::vector<Plan> plans;
  for (const Resolution& at : site.resolutions) {
    plans.push_back({"ops", "norm + modulation", at.shape(), [=] { return modulated_norm(site, at.tokens()); }});
    plans.push_back(
        {"ops", "residual + norm + modulation", at.shape(), [=] { return residual_norm(site, at.tokens()); }});
    if (kernels::takes_norm_int8(site.config.dim, site.dtype)) {
      plans.push_back(
          {"ops", "norm + modulation, 8 bits", at.shape(), [=] { return modulated_norm_int8(site, at.tokens()); }});
      plans.push_back({"ops", "residual + norm + modulation, 8 bits", at.shape(),
                       [=] { return residual_norm_int8(site, at.tokens()); }});
    }
    plans.push_back({"ops", "qk norm + rope", at.shape(), [=] { return norm_rope(site, at); }});
    plans.push_back({"ops", "guidance + solver step", at.shape(), [=] { return solver_step(site, at); }});
  }
  return plans;
}

}  // namespace wan::bench
