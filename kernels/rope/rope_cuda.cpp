#include "kernels/rope/rope_cuda.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>

#include "kernels/op/binding.h"
#include "kernels/rope/launch.h"

namespace wan::kernels::cuda {
namespace {

/// Rows of x [B, L, C] that lie at one distance from each other, as slices of a merged product do.
bool takes_rows_of(const Tensor& x, const Context& context) {
  return use_fused(x, context) && x.numel() > 0 && x.stride(2) == 1 && is_aligned(x) &&
         x.stride(1) * x.element_size() % 16 == 0 && (x.size(0) == 1 || x.stride(0) == x.size(1) * x.stride(1)) &&
         x.size(0) * x.size(1) <= INT32_MAX;
}

bool takes_angles(const Rope& rope, const Tensor& x, const Context& context) {
  return rope.cos.scalar_type() == at::kFloat && rope.sin.scalar_type() == at::kFloat &&
         takes_arrays(rope.cos, {rope.sin}, context) && rope.cos.device() == x.device();
}

/// The launch for x [B, L, C] of heads of `head_dim` channels; the tensors are still to be set.
RopeArguments arguments_of(const Tensor& x, const Rope& rope, int64_t head_dim, double eps) {
  RopeArguments a{};
  a.cos = floats(rope.cos);
  a.sin = floats(rope.sin);
  a.rows = x.size(0) * x.size(1);
  a.tokens = int(x.size(1));
  a.channels = int(x.size(2));
  a.head_dim = int(head_dim);
  a.eps = float(eps);
  return a;
}

}  // namespace

std::optional<Tensor> apply_rope(const Tensor& x, const Rope& rope, const Context& context) {
  if (!takes_arrays(x, {}, context) || !takes_rope(x.size(2), x.size(3), x.scalar_type()) ||
      !takes_angles(rope, x, context)) {
    return std::nullopt;
  }
  Tensor rows = x.flatten(2), out = at::empty_like(x);
  if (!takes_rows_of(rows, context)) return std::nullopt;
  RopeArguments a = arguments_of(rows, rope, x.size(3), 0);
  a.count = 1;
  a.x[0] = x.const_data_ptr();
  a.out[0] = out.data_ptr();
  a.row_stride[0] = rows.stride(1);
  launch_on(x, [&](cudaStream_t stream) { return launch_norm_rope(a, element_of(x.scalar_type()), stream); });
  return out;
}

std::optional<std::pair<Tensor, Tensor>> qk_norm_rope(const Tensor& q, const Tensor& k, const Tensor& weight_q,
                                                      const Tensor& weight_k, const Rope& rope, int64_t heads,
                                                      double eps, const Context& context) {
  const int64_t head_dim = q.size(2) / heads;
  if (!takes_rows_of(q, context) || !takes_rows_of(k, context) || q.scalar_type() != k.scalar_type() ||
      q.device() != k.device() || !takes_rope(heads, head_dim, q.scalar_type()) || !takes_angles(rope, q, context)) {
    return std::nullopt;
  }
  const std::vector<int64_t> shape = {q.size(0), q.size(1), heads, head_dim};
  const Tensor x[] = {q, k}, weight[] = {as_floats(weight_q), as_floats(weight_k)};
  const Tensor out[] = {at::empty(shape, q.options()), at::empty(shape, q.options())};
  RopeArguments a = arguments_of(q, rope, head_dim, eps);
  a.count = 2;
  for (int i = 0; i < 2; ++i) {
    if (!is_aligned(weight[i])) return std::nullopt;
    a.x[i] = x[i].const_data_ptr();
    a.weight[i] = floats(weight[i]);
    a.out[i] = out[i].data_ptr();
    a.row_stride[i] = x[i].stride(1);
  }
  launch_on(q, [&](cudaStream_t stream) { return launch_norm_rope(a, element_of(q.scalar_type()), stream); });
  return std::pair{out[0], out[1]};
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels: nothing is taken

namespace wan::kernels::cuda {

std::optional<Tensor> apply_rope(const Tensor&, const Rope&, const Context&) {
  return std::nullopt;
}

std::optional<std::pair<Tensor, Tensor>> qk_norm_rope(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                                      const Rope&, int64_t, double, const Context&) {
  return std::nullopt;
}

}  // namespace wan::kernels::cuda

#endif
