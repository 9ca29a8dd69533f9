// The four linears of a block, in 16 bits and in 8 bits, ours and the libraries', with and without the cost of
// quantising the activations.
#include <ATen/ATen.h>

#include "kernels/linear/int8_cuda.h"
#include "kernels/linear/linear.h"
#include "tools/bench/ops.h"

namespace wan::bench {
namespace {

using kernels::Activation;

struct Shape {
  const char* name;
  int64_t in, out;
  Activation activation;
};

std::vector<Shape> shapes(const WanConfig& c) {
  return {{"linear qkv", c.dim, 3 * c.dim, Activation::None},
          {"linear o", c.dim, c.dim, Activation::None},
          {"linear ffn up + gelu", c.dim, c.ffn_dim, Activation::GeluTanh},
          {"linear ffn down", c.ffn_dim, c.dim, Activation::None}};
}

/// A tensor as 8-bit codes and what they are multiplied with, one scale for each row of `x` or one for all.
struct Quantised {
  Tensor codes, scale;
};

Quantised quantise(const Tensor& x, at::ScalarType dtype, bool by_row) {
  const double largest = dtype == at::kChar ? 127 : 448;
  const Tensor size = by_row ? x.abs().amax({1}, /*keepdim=*/true) : x.abs().amax();
  const Tensor scale = size.to(at::kFloat).clamp_min(1e-12).div(largest);
  Tensor codes = x.div(scale).clamp(-largest, largest);
  return {(dtype == at::kChar ? codes.round() : codes).to(dtype), scale};
}

void add_float8(std::vector<Contestant>& contestants, const std::vector<Tensor>& x, const Tensor& weight,
                const Tensor& bias, bool by_row) {
  const std::string name = std::string("_scaled_mm fp8 ") + (by_row ? "row" : "tensor");
  const Quantised w = quantise(weight, at::kFloat8_e4m3fn, by_row);
  const auto multiply = [w, bias, by_row](const Quantised& a) {
    return at::_scaled_mm(a.codes, w.codes.t(), a.scale, by_row ? w.scale.t() : w.scale, bias, {}, at::kBFloat16,
                          /*use_fast_accum=*/true);
  };
  const Quantised ready = quantise(x[0], at::kFloat8_e4m3fn, by_row);
  contestants.push_back({name, false, [=](size_t) { return multiply(ready); }, "without quantising"});
  contestants.push_back({name + " + quantise", false,
                         [=](size_t set) { return multiply(quantise(x[set], at::kFloat8_e4m3fn, by_row)); },
                         "quantised by ATen"});
}

void add_int8(std::vector<Contestant>& contestants, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Quantised w = quantise(weight, at::kChar, true), a = quantise(x, at::kChar, true);
  contestants.push_back({"_int_mm", false, [=](size_t) { return at::_int_mm(a.codes, w.codes.t()); },
                         "int32 out, without quantising",
                         [=](const Tensor& sums) { return sums * a.scale * w.scale.t() + bias; }});
}

/// Our products of rotated 8-bit rows: whole, and on CUDA each kernel alone.
void add_own_int8(const Site& site, std::vector<Contestant>& contestants, const std::vector<Tensor>& x,
                  const Tensor& weight, const Tensor& bias, Activation activation) {
  constexpr double kBound = 1.8e-2;
  if (!kernels::takes_rotation(weight.size(1), weight.scalar_type())) return;
  const kernels::QuantisedRows w = kernels::quantise_rows(weight, *site.context);
  contestants.push_back(
      {.name = "kernels::linear_int8",
       .ours = true,
       .run = [=](size_t set) { return kernels::linear_int8(x[set], w, bias, activation, *site.context); },
       .note = "quantising included",
       .bound = kBound});
  const kernels::QuantisedRows ready = kernels::quantise_rows(x[0], *site.context);
  for (const auto& [name, instructions] : own_instructions(site))
    contestants.push_back({.name = "int8 " + name,
                           .ours = true,
                           .run =
                               [=, instructions = instructions](size_t) {
                                 auto out = kernels::cuda::multiply_rows(ready, w, bias, activation, x[0].scalar_type(),
                                                                         instructions);
                                 TORCH_CHECK(out, "our kernel does not take this");
                                 return *out;
                               },
                           .note = "without quantising",
                           .bound = kBound});
  const auto own = own_instructions(site);
  if (own.empty() || own.back().second != kernels::Instructions::Wgmma) return;
  contestants.push_back({.name = "int8 wgmma in turns",
                         .ours = true,
                         .run =
                             [=](size_t) {
                               auto out = kernels::cuda::multiply_rows_in_turns(ready, w, bias, activation,
                                                                                x[0].scalar_type());
                               TORCH_CHECK(out, "our kernel does not take this");
                               return *out;
                             },
                         .note = "without quantising; one warpgroup writes while the other multiplies",
                         .bound = kBound});
}

Contest contest(const Site& site, const Shape& shape, int64_t tokens) {
  const double size = double(at::elementSize(site.dtype));
  std::vector<Tensor> x(rotation(size * double(tokens * shape.in)));
  for (Tensor& one : x) one = site.randn({tokens, shape.in});
  const Tensor weight = site.randn({shape.out, shape.in}) * 0.02, bias = site.randn({shape.out}) * 0.02;
  const Activation activation = shape.activation;
  const Tensor rows = sampled_rows(tokens, site.device);
  const auto finish = [activation](const Tensor& y) {
    return activation == Activation::GeluTanh ? at::gelu(y, "tanh") : y;
  };
  const Tensor want =
      finish(at::linear(x[0].index_select(0, rows).to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble)));
  Contest contest{.flops = 2.0 * double(tokens) * double(shape.in) * double(shape.out),
                  .bytes = size * double(tokens * (shape.in + shape.out) + shape.in * shape.out),
                  .ceiling = "bf16",
                  .sets = x.size(),
                  .error = [rows, want](const Tensor& y) { return relative_l2(y.index_select(0, rows), want); },
                  .bound = 4.5e-2,
                  .contestants = {}};
  contest.contestants.push_back({"kernels::linear", true, [=](size_t set) {
                                   return kernels::linear(x[set], weight, bias, activation, *site.context);
                                 }});
  contest.contestants.push_back(
      {"at::linear", false, [=](size_t set) { return finish(at::linear(x[set], weight, bias)); }});
  if (activation == Activation::GeluTanh)
    contest.contestants.push_back({"at::_addmm_activation", false, [=](size_t set) {
                                     return at::_addmm_activation(bias, x[set], weight.t(), 1, 1, /*use_gelu=*/true);
                                   }});
  add_own_int8(site, contest.contestants, x, weight, bias, activation);
  // An activation behind an 8-bit product would be measured, not the product.
  if (activation == Activation::None && site.is_cuda()) {
    for (bool by_row : {false, true}) add_float8(contest.contestants, x, weight, bias, by_row);
    add_int8(contest.contestants, x[0], weight, bias);
  }
  return contest;
}

}  // namespace

std::vector<Plan> linear_plans(const Site& site) {
  std::vector<Plan> plans;
  for (const Resolution& at : site.resolutions)
    for (const Shape& shape : shapes(site.config))
      plans.push_back({"ops", shape.name, at.shape(), [=] { return contest(site, shape, at.tokens()); }});
  return plans;
}

}  // namespace wan::bench
