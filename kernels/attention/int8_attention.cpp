#include "kernels/attention/int8_attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "kernels/attention/int8_attention_cuda.h"
#include "kernels/attention/launch.h"
#include "kernels/attention/selector.h"
#include "kernels/linear/int8_codes.h"
#include "kernels/op/check.h"
#include "kernels/op/device.h"
#include "kernels/op/first_use.h"
#include "kernels/op/pieces.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

static_assert(kInt8HeadWidth == kAttentionHeadDim);
constexpr double kLog2E = 1.4426950408889634;

void check_heads(const char* op, const char* name, const Tensor& x) {
  check_shape(op, name, x, {kAny, kAny, kAny, kAttentionHeadDim});
  check_dtype(op, name, x, {at::kFloat, at::kBFloat16, at::kHalf});
}

/// x [..., rows] in the codes whose largest is `largest` (broadcast over x), and that scale times `factor`.
QuantisedHeads coded(const Tensor& x, const Tensor& largest, double factor) {
  const Tensor scale = largest * (float(factor) / int8_codes::kLargest);
  const Tensor inverse = at::where(scale >= kSmallestHeadScale, int8_codes::kLargest / largest, 0);
  const Tensor codes = (x * inverse).round_().clamp_(-int8_codes::kLargest, int8_codes::kLargest);
  return {codes.nan_to_num(0).to(at::kChar), scale.clamp_min(kSmallestHeadScale)};
}

/// Compares some queries of the last head with the reference when a kernel is first used on a device with or without a
/// tail of keys.
void check_attention_once(const Tensor& out, const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                          const cuda::Int8Way& way, const Context& context) {
  const Values values = way.values;
  const SkipSoftmax* const skip = way.skip;
  // Weights are rounded under another maximum: by 2^-9, or by 2^-4 in e4m3.
  const double bound = values == Values::Float8 ? 6e-2 : 1e-2;
  const std::string shape = std::string(values == Values::Float8 ? "8+8 " : "8+16 ") + at::toString(v.scalar_type()) +
                            (way.sums == Sums::Half ? " with half sums" : "") +
                            (way.instructions == Instructions::Wgmma ? " with wgmma" : "") +
                            (k.codes.size(2) % kInt8KeyBlock ? " with a tail" : "") +
                            (skip ? " leaving out blocks" : "");
  // Blocks are left out by whole groups of queries: the first one.
  const SkipBlock block = skip_block(way.instructions);
  const auto rows = [&] {
    return skip ? at::arange(std::min(block.queries, out.size(1)), v.options().dtype(at::kLong))
                : spread_rows(out.size(1), out.device());
  };
  const auto head_of = [](const QuantisedHeads& heads) {
    return QuantisedHeads{heads.codes.narrow(1, -1, 1), heads.scale.narrow(1, -1, 1)};
  };
  check_first_use(
      "attention_int8", shape, v.device(), bound, [&] { return out.narrow(2, -1, 1).index_select(1, rows()); },
      [&] {
        QuantisedHeads queries = head_of(q);
        queries = {queries.codes.index_select(2, rows()), queries.scale.index_select(2, rows())};
        std::optional<SkipSoftmax> apart;
        if (skip) apart.emplace(skip->lambda(), v.device());
        return reference::attention_int8(queries, head_of(k), v.narrow(2, -1, 1), values, way.sums,
                                         apart ? &*apart : nullptr, block);
      },
      context);
}

/// Float32 unless the Context has a choice and its figures say half.
Sums chosen_sums(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Context& context) {
  AttentionSelector* selector = context.sums_on(q.device());
  if (!selector || q.numel() == 0) return Sums::Float;
  return selector->chosen(q, k, v, scale) == kHalfSums ? Sums::Half : Sums::Float;
}

}  // namespace

ValueScales value_scales(const Tensor& v, float largest_code) {
  // Two passes instead of one over |v|, which would be a second v.
  const Tensor largest = at::maximum(v.amax(1), -v.amin(1)).to(at::kFloat);
  return {largest / largest_code, at::where(largest > int8_codes::kSmallest, largest_code / largest, 0)};
}

QuantisedHeads quantise_queries(const Tensor& q, double factor, const Context& context) {
  check_heads("quantise_queries", "q", q);
  const Range range("quantise_queries", [&] { return pass_work({q}, double(q.numel())); });
  if (auto heads = cuda::quantise_heads(q, {}, factor, context)) return *heads;
  return reference::quantise_queries(q, factor);
}

QuantisedHeads quantise_keys(const Tensor& k, const Tensor& centre, const Context& context) {
  check_heads("quantise_keys", "k", k);
  check_shape("quantise_keys", "centre", centre, {k.size(0), k.size(2), k.size(3)});
  check_dtype("quantise_keys", "centre", centre, {at::kFloat});
  const Range range("quantise_keys", [&] { return pass_work({k}, double(k.numel())); });
  if (auto heads = cuda::quantise_heads(k, centre, 1, context)) return *heads;
  return reference::quantise_keys(k, centre);
}

Tensor attention_int8(const Tensor& q, const Tensor& k, const Tensor& v, double scale, Values values,
                      const Context& context, SkipSoftmax* skip) {
  check_heads("attention_int8", "q", q);
  check_heads("attention_int8", "k", k);
  check_shape("attention_int8", "k", k, {q.size(0), kAny, q.size(2), kAny});
  check_shape("attention_int8", "v", v, k.sizes());
  for (const Tensor& x : {k, v}) check_dtype("attention_int8", "k and v", x, {q.scalar_type()});
  TORCH_CHECK(k.size(1) > 0, "[attention_int8] k must have at least one token, got ", k.sizes());
  const Range range("attention_int8", [&] { return attention_work(q, k.size(1), "int8"); });
  // Asked before anything is held here.
  const Sums sums = values == Values::Float8 ? chosen_sums(q, k, v, scale, context) : Sums::Float;
  const QuantisedHeads queries = quantise_queries(q, scale * kLog2E, context);
  const QuantisedHeads keys = quantise_keys(k, k.mean(1, false, at::kFloat), context);
  const bool slower = use_fused(v, context) && !cuda::multiplies_float8(v.device(), context);
  const Values taken = slower ? Values::Plain : values;
  const cuda::Int8Way way = {taken, sums, cuda::instructions_on(v.device(), context), skip};
  if (auto out = cuda::attention_int8(queries, keys, v, way, context)) {
    check_attention_once(*out, queries, keys, v, way, context);
    return *out;
  }
  return reference::attention_int8(queries, keys, v, values, sums, skip);
}

namespace reference {

namespace {

/// a [B, H, L, K] times b [B, H, K, D]: on the CPU a head is one thread's (kernels/op/pieces.h).
Tensor product_of_heads(const Tensor& a, const Tensor& b) {
  if (!a.is_cpu()) return at::matmul(a, b);
  const Tensor left = a.flatten(0, 1), right = b.flatten(0, 1);
  const Tensor y = at::empty({left.size(0), left.size(1), right.size(2)}, a.options());
  in_pieces(left.size(0), [&](int64_t head) {
    Tensor part = y.select(0, head);
    at::mm_out(part, left.select(0, head), right.select(0, head));
  });
  return y.view({a.size(0), a.size(1), a.size(2), b.size(3)});
}

}  // namespace

QuantisedHeads quantise_queries(const Tensor& q, double factor) {
  const Tensor x = q.transpose(1, 2).to(at::kFloat);
  QuantisedHeads heads = coded(x, x.abs().amax(-1, true), factor);
  return {heads.codes.contiguous(), heads.scale.squeeze(-1).contiguous()};
}

QuantisedHeads quantise_keys(const Tensor& k, const Tensor& centre) {
  const Tensor x = k.transpose(1, 2).to(at::kFloat) - centre.unsqueeze(2);
  const int64_t tokens = x.size(2), blocks = (tokens + kInt8KeyBlock - 1) / kInt8KeyBlock;
  const Tensor padded = at::constant_pad_nd(x, {0, 0, 0, blocks * kInt8KeyBlock - tokens});
  const Tensor in_blocks = padded.view({x.size(0), x.size(1), blocks, -1});
  QuantisedHeads heads = coded(in_blocks, in_blocks.abs().amax(-1, true), 1);
  return {heads.codes.view(padded.sizes()).narrow(2, 0, tokens).contiguous(), heads.scale.squeeze(-1).contiguous()};
}

QuantisedHeads quantise_values(const Tensor& v, float largest_code) {
  const ValueScales scales = value_scales(v, largest_code);
  const Tensor codes = (v.to(at::kFloat) * scales.inverse.unsqueeze(1)).clamp_(-largest_code, largest_code);
  return {codes.to(at::kFloat8_e4m3fn), scales.scale};
}

Tensor attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v, Values kind, Sums sums,
                      SkipSoftmax* skip, const SkipBlock& groups) {
  constexpr int64_t kLogits = int64_t(1) << 26;  // held at one time: 256 MiB in float32
  const Float8Range range = float8_range(sums);
  const int64_t queries = q.codes.size(2), keys = k.codes.size(2);
  const int64_t per_query = std::max<int64_t>(q.codes.size(0) * q.codes.size(1) * keys, 1);
  int64_t block = std::clamp<int64_t>(kLogits / per_query, 1, std::max<int64_t>(queries, 1));
  if (skip) {
    block = (block + groups.queries - 1) / groups.queries * groups.queries;
    skip->add_all(count_blocks(groups, q.codes.size(0), q.codes.size(1), queries, keys));
  }
  const QuantisedHeads coded = kind == Values::Float8 ? quantise_values(v, range.value) : QuantisedHeads{v, {}};
  const Tensor key_codes = k.codes.transpose(2, 3).to(at::kFloat), values = coded.codes.transpose(1, 2).to(at::kFloat);
  const Tensor key_scale = k.scale.repeat_interleave(kInt8KeyBlock, 2).narrow(2, 0, keys).unsqueeze(2);
  Tensor out = at::empty({v.size(0), queries, v.size(2), v.size(3)}, v.options());
  for (int64_t first = 0; first < queries; first += block) {
    const int64_t count = std::min(block, queries - first);
    // 128 products of at most 127^2 are below 2^24: exact in float32.
    Tensor logits = at::matmul(q.codes.narrow(2, first, count).to(at::kFloat), key_codes);
    logits.mul_(q.scale.narrow(2, first, count).unsqueeze(-1) * key_scale);
    if (skip) leave_out_(logits, *skip, groups);
    const Tensor weights = logits - logits.amax(-1, true);
    elementwise_(weights, [](Tensor& piece) { piece.exp2_(); });
    if (kind == Values::Float8) weights.mul_(std::exp2(range.peak));
    const Tensor rounded = weights.to(coded.codes.scalar_type()).to(at::kFloat);
    Tensor rows = product_of_heads(rounded, values) / weights.sum(-1, true);
    if (kind == Values::Float8) rows.mul_(coded.scale.unsqueeze(2));
    out.narrow(1, first, count).copy_(rows.transpose(1, 2));
  }
  return out;
}

}  // namespace reference
}  // namespace wan::kernels
