// Self-attention and cross-attention: the libraries behind ATen, and our own kernel.
#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <optional>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/int8_attention_cuda.h"
#include "kernels/op/device.h"
#include "tools/bench/ops.h"

namespace wan::bench {
namespace {

using Attend = std::function<Tensor(const Tensor& q, const Tensor& k, const Tensor& v, double scale)>;

struct Backend {
  std::string name;
  bool ours;
  Attend attend;
  std::string note = {};
  double bound = 0;  // 0: that of 16 bits
};

/// ATen's attentions want [B, H, L, D]; what follows wants [B, L, H, D] contiguous, so a copy counts.
Attend transposed(Attend attend) {
  return [attend](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
    return attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale).transpose(1, 2).contiguous();
  };
}

/// Our kernel for 16 bits.
Attend own_attention(kernels::Instructions instructions) {
  return [instructions](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
    auto out = kernels::cuda::attention(q, k, v, scale, {}, instructions);
    TORCH_CHECK(out, "our kernel does not take this");
    return *out;
  };
}

/// What the operation chooses.
Attend chosen_attention(const Site& site) {
  return [context = site.context](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
    return kernels::attention(q, k, v, scale, {}, *context);
  };
}

constexpr double kLog2E = 1.4426950408889634;

struct Coded {
  kernels::QuantisedHeads queries, keys;
};

Coded code_heads(const Tensor& q, const Tensor& k, double scale) {
  return {kernels::quantise_queries(q, scale * kLog2E), kernels::quantise_keys(k, k.mean(1, false, at::kFloat))};
}

/// 8-bit self-attention. Drawn values cancel, so an error of the logits is the result's, and no kernel's fault:
/// 1.1e-2 with 16-bit values.
double int8_bound(kernels::Values values) {
  return values == kernels::Values::Plain ? 1.5e-2 : 4e-2;
}

/// What the operation does on the CPU.
Backend reference_int8(std::string name, kernels::Values values, kernels::Sums sums) {
  return {std::move(name), true,
          [values, sums](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
            const Coded coded = code_heads(q, k, scale);
            return kernels::reference::attention_int8(coded.queries, coded.keys, v, values, sums);
          },
          "quantising included", int8_bound(values)};
}

/// A kernel with the quantising before it, and by itself: codes are made at its first run and kept.
void add_int8_kernel(std::vector<Backend>& backends, const std::string& name, kernels::Values values,
                     kernels::Sums sums, kernels::Instructions instructions) {
  namespace cuda = kernels::cuda;
  const cuda::Int8Way way = {values, sums, instructions};
  const auto check = [way](const Tensor& q) {
    TORCH_CHECK(way.values == kernels::Values::Plain || way.instructions == kernels::Instructions::Wgmma ||
                    cuda::multiplies_float8(q.device()),
                "this GPU multiplies 8-bit floats no faster than 16-bit ones");
  };
  const auto taken = [](const std::optional<Tensor>& out) {
    TORCH_CHECK(out, "our kernel does not take this");
    return *out;
  };
  backends.push_back({name, true,
                      [=](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
                        check(q);
                        const Coded coded = code_heads(q, k, scale);
                        return taken(cuda::attention_int8(coded.queries, coded.keys, v, way));
                      },
                      "quantising included", int8_bound(values)});
  struct Kept {
    Coded heads;
    std::optional<cuda::CodedValues> values;
  };
  auto kept = std::make_shared<std::optional<Kept>>();
  backends.push_back({name + " alone", true,
                      [=](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
                        check(q);
                        if (!*kept) {
                          *kept = {code_heads(q, k, scale), {}};
                          if (way.values == kernels::Values::Float8) (*kept)->values = cuda::code_values(v, way.sums);
                        }
                        const Coded& heads = (*kept)->heads;
                        return taken(cuda::attend_codes(heads.queries, heads.keys, v, (*kept)->values, way));
                      },
                      "without quantising", int8_bound(values)});
}

std::vector<Backend> int8_backends(const Site& site) {
  using kernels::Sums, kernels::Values, kernels::Instructions;
  if (!site.is_cuda())
    return {reference_int8("8+16", Values::Plain, Sums::Float), reference_int8("8+8", Values::Float8, Sums::Float),
            reference_int8("8+8 half sums", Values::Float8, Sums::Half)};
  std::vector<Backend> all;
  for (const auto& [name, instructions] : own_instructions(site)) {
    add_int8_kernel(all, "8+16 " + name, Values::Plain, Sums::Float, instructions);
    add_int8_kernel(all, "8+8 " + name, Values::Float8, Sums::Float, instructions);
    if (instructions == Instructions::Mma)
      add_int8_kernel(all, "8+8 " + name + " half sums", Values::Float8, Sums::Half, instructions);
  }
  return all;
}

std::vector<Backend> backends(const Site& site) {
  if (!site.is_cuda())
    return {{"sdpa", false, transposed([](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
               return at::scaled_dot_product_attention(q, k, v, {}, 0.0, false, scale);
             })},
            {"chosen", true, chosen_attention(site)}};
  std::vector<Backend> all = {
      {"cudnn", false, transposed([](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
         return std::get<0>(at::_scaled_dot_product_cudnn_attention(q, k, v, {}, false, 0.0, false, false, scale));
       })},
      {"flash", false, transposed([](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
         return std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v, 0.0, false, false, scale));
       })},
      {"efficient", false, transposed([](const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
         return std::get<0>(at::_scaled_dot_product_efficient_attention(q, k, v, {}, false, 0.0, false, scale));
       })},
      {"chosen", true, chosen_attention(site)}};
  for (const auto& [name, instructions] : own_instructions(site))
    all.push_back({name, true, own_attention(instructions)});
  return all;
}

/// Attention of some query rows in float64, a head at a time: at 75,600 keys one head's logits are 0.3 GB.
Tensor expected(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& rows, double scale) {
  std::vector<Tensor> heads;
  for (int64_t head = 0; head < q.size(2); ++head) {
    const Tensor queries = q.select(2, head).index_select(1, rows).to(at::kDouble);
    const Tensor keys = k.select(2, head).to(at::kDouble), values = v.select(2, head).to(at::kDouble);
    heads.push_back(at::matmul((at::matmul(queries, keys.transpose(1, 2)) * scale).softmax(-1), values));
  }
  return at::stack(heads, 2);
}

/// Keys carry an offset in each channel, as real ones do: three times what varies.
Tensor drawn_keys(const Site& site, int64_t length) {
  const WanConfig& c = site.config;
  return site.randn({1, length, c.num_heads, c.head_dim()}) + 3 * site.randn({1, 1, c.num_heads, c.head_dim()});
}

Contest contest(const Site& site, int64_t queries, int64_t keys) {
  const WanConfig& c = site.config;
  const double size = double(at::elementSize(site.dtype)), scale = 1 / std::sqrt(double(c.head_dim()));
  const double bytes = size * double(c.dim) * double(2 * queries + 2 * keys);
  std::vector<std::array<Tensor, 3>> inputs(rotation(bytes));
  for (auto& [q, k, v] : inputs) {
    q = site.randn({1, queries, c.num_heads, c.head_dim()});
    k = drawn_keys(site, keys);
    v = site.randn(k.sizes());
  }
  const Tensor rows = sampled_rows(queries, site.device);
  const Tensor want = expected(inputs[0][0], inputs[0][1], inputs[0][2], rows, scale);
  Contest contest{.flops = 4.0 * double(queries) * double(keys) * double(c.dim),
                  .bytes = bytes,
                  .ceiling = "bf16",
                  .sets = inputs.size(),
                  .error = [rows, want](const Tensor& out) { return relative_l2(out.index_select(1, rows), want); },
                  .bound = 4e-3,
                  .contestants = {}};
  std::vector<Backend> all = backends(site);
  if (queries == keys && c.head_dim() == kernels::kInt8HeadWidth)
    for (Backend& backend : int8_backends(site)) all.push_back(std::move(backend));
  for (const Backend& backend : all)
    contest.contestants.push_back({.name = backend.name,
                                   .ours = backend.ours,
                                   .run =
                                       [inputs, scale, attend = backend.attend](size_t set) {
                                         const auto& [q, k, v] = inputs[set];
                                         return attend(q, k, v, scale);
                                       },
                                   .note = backend.note,
                                   .bound = backend.bound});
  return contest;
}

}  // namespace

std::vector<Plan> attention_plans(const Site& site) {
  std::vector<Plan> plans;
  for (const Resolution& at : site.resolutions)
    plans.push_back({"ops", "self-attention", at.shape(), [=] { return contest(site, at.tokens(), at.tokens()); }});
  for (int64_t keys : {site.config.text_len, site.config.text_len / 4}) {
    const Resolution& at = site.resolutions.front();
    plans.push_back({"ops", "cross-attention", at.shape() + ", " + std::to_string(keys) + " keys",
                     [=] { return contest(site, at.tokens(), keys); }});
  }
  return plans;
}

}  // namespace wan::bench
