#include "kernels/attention/attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/launch.h"
#include "kernels/attention/selector.h"
#include "kernels/op/check.h"
#include "kernels/op/device.h"
#include "kernels/op/pieces.h"
#include "kernels/op/takes.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

/// bias as [1, 1 or H, 1 or Lq, Lk], which broadcasts over the logits without being written out.
Tensor broadcastable(const Tensor& bias) {
  return bias.dim() == 1 ? bias.view({1, 1, 1, -1}) : bias.unsqueeze(0);
}

/// ATen's own choice: no [Lq, Lk] matrix, strided heads read in place.
Tensor library_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
  std::optional<Tensor> mask;
  if (bias.defined()) mask = broadcastable(bias).to(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask, 0.0, false,
                                          scale)
      .transpose(1, 2);
}

/// The same on the CPU, a head and some of its queries at a time: few queries with many keys would be shared among
/// threads key by key, and the sums would follow their number.
Tensor attention_in_pieces(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
  constexpr int64_t kQueries = 2048;
  const int64_t heads = q.size(2), blocks = (q.size(1) + kQueries - 1) / kQueries;
  const Tensor out = at::empty(q.sizes(), q.options());
  in_pieces(heads * blocks, [&](int64_t piece) {
    const int64_t head = piece / blocks, first = piece % blocks * kQueries;
    const int64_t count = std::min(kQueries, q.size(1) - first);
    const auto of_head = [&](const Tensor& x) { return x.narrow(2, head, 1); };
    Tensor seen = bias;
    if (bias.defined() && bias.dim() == 3) seen = bias.narrow(0, head, 1).narrow(1, first, count);
    const Tensor y = library_attention(of_head(q).narrow(1, first, count), of_head(k), of_head(v), scale, seen);
    of_head(out).narrow(1, first, count).copy_(y);
  });
  return out;
}

}  // namespace

bool takes_head(int64_t head_dim, at::ScalarType dtype) {
  return head_dim == kAttentionHeadDim && is_half(dtype);
}

bool is_nested(const Tensor& x) {
  int64_t stride = 1, size = x.size(3);  // of the dimension inside
  for (int64_t dim : {2, 1, 0}) {
    const int64_t whole = stride * size;
    // One element is never stepped over: its stride may be anything.
    const int64_t own = x.size(dim) == 1 ? whole : x.stride(dim);
    if (own < whole || own % stride != 0) return false;
    stride = own;
    size = x.size(dim);
  }
  return x.stride(3) == 1;
}

bool spans_int32(const Tensor& x) {
  int64_t last = 0;
  for (int64_t dim = 0; dim < x.dim(); ++dim) last += (x.size(dim) - 1) * x.stride(dim);
  return last <= INT32_MAX;
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias,
                 const Context& context) {
  check_shape("attention", "q", q, {kAny, kAny, kAny, kAny});
  check_shape("attention", "k", k, {q.size(0), kAny, q.size(2), q.size(3)});
  check_shape("attention", "v", v, k.sizes());
  if (bias.defined() && bias.dim() == 1)
    check_shape("attention", "bias", bias, {k.size(1)});
  else if (bias.defined())
    check_shape("attention", "bias", bias, {q.size(2), q.size(1), k.size(1)});
  const Range range("attention", [&] { return attention_work(q, k.size(1), ceiling_of(q.scalar_type())); });
  if (q.numel() == 0 || k.size(1) == 0) return reference::attention(q, k, v, scale, bias);
  if (AttentionSelector* selector = context.attention_on(q.device()); selector && !q.requires_grad())
    return (*selector)(q, k, v, scale, bias);
  // On a GPU the libraries read a bias in q's dtype, where a logit of 20 would be off by 0.06.
  if (q.is_cpu() && !q.requires_grad()) return attention_in_pieces(q, k, v, scale, bias);
  if (q.is_cpu() || (use_libraries(q, context) && !bias.defined())) return library_attention(q, k, v, scale, bias);
  return reference::attention(q, k, v, scale, bias);
}

namespace reference {
namespace {

/// Logits held at one time: 64 Mi values, 256 MiB in float32.
constexpr int64_t kLogits = int64_t(1) << 26;

/// Some heads, on any device.
Tensor of_heads(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
  const at::ScalarType wide = accumulation(q.scalar_type());
  const int64_t queries = q.size(1), per_query = std::max<int64_t>(q.size(0) * q.size(2) * k.size(1), 1);
  const int64_t block = std::clamp<int64_t>(kLogits / per_query, 1, std::max<int64_t>(queries, 1));
  Tensor keys = k.permute({0, 2, 3, 1}).to(wide), values = v.transpose(1, 2).to(wide);
  std::vector<Tensor> parts;
  for (int64_t start = 0; start < queries; start += block) {
    int64_t length = std::min(block, queries - start);
    Tensor logits = at::matmul(q.narrow(1, start, length).transpose(1, 2).to(wide) * scale, keys);
    if (bias.defined()) logits = logits + (bias.dim() == 1 ? bias : bias.narrow(1, start, length));
    parts.push_back(at::matmul(logits.softmax(-1), values).transpose(1, 2).to(q.scalar_type()));
  }
  return parts.empty() ? at::zeros_like(q) : at::cat(parts, 1);
}

}  // namespace

// On the CPU a head at a time: the library would share few queries with many keys among threads key by key.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
  if (!q.is_cpu() || q.requires_grad()) return of_heads(q, k, v, scale, bias);
  const Tensor out = at::empty_like(q, at::MemoryFormat::Contiguous);
  in_pieces(q.size(2), [&](int64_t head) {
    const auto of_head = [&](const Tensor& x) { return x.narrow(2, head, 1); };
    const Tensor seen = bias.defined() && bias.dim() == 3 ? bias.narrow(0, head, 1) : bias;
    of_head(out).copy_(of_heads(of_head(q), of_head(k), of_head(v), scale, seen));
  });
  return out;
}

}  // namespace reference
}  // namespace wan::kernels
