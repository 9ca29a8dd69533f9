// The layers that networks are made of. Each takes its weights from the Scope of their names, with what they are used
// for; the network's Place decides where they lie and in which form. `compute` is the arithmetic of the matrix products:
// float32, bfloat16 (autocast: inputs and weights are rounded, sums are float32, the result is rounded) or, on the CPU,
// float64.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <vector>

#include "models/weights/matrix.h"
#include "models/weights/scope.h"
#include "models/weights/weight.h"

namespace wan {

/// What norms, modulation, time embedding, head and the residual stream compute in: float32, or float64 where all does.
at::ScalarType float32_dtype(at::ScalarType compute);

enum class Bias { Yes, No };

/// y = activation(x W^T + b) in `compute`. Weight [out, in], bias [out].
struct Linear {
  Linear(const Scope& at, int64_t in, int64_t out, at::ScalarType compute, Bias with = Bias::Yes,
         Role role = Role::Matmul);
  /// Several linears of one input as one: the rows of all `names` under `at`, `out` of each.
  Linear(const Scope& at, const std::vector<std::string_view>& names, int64_t in, int64_t out, at::ScalarType compute,
         Bias with, Role role);
  /// x [..., in], any dtype, or codes where the weight takes them -> [..., out] in `compute`.
  Tensor operator()(const Operand& x, Activation activation = Activation::None) const;
  /// residual [B, L, out] += gate * y in place, without an activation; gate [S, out] float32, a row for each segment.
  void add_to(Tensor& residual, const Tensor& x, const Tensor& gate, const kernels::Segments& ends) const;

  at::ScalarType compute;
  Weight weight, bias;
};

/// Several linears of the same input: one matrix where they are copied anyway, apart where they are mapped
/// (Place::joins_rows).
struct MergedLinear {
  MergedLinear(const Scope& at, const std::vector<std::string_view>& names, int64_t in, int64_t out,
               at::ScalarType compute, Bias with = Bias::Yes, Role role = Role::Matmul);
  /// x as Linear's -> one [..., out] for each name: views of one product where merged.
  std::vector<Tensor> operator()(const Operand& x) const;
  /// Whether the input may come in codes.
  bool takes_codes() const;

  int64_t out;
  std::vector<Linear> parts;  // one for each name, or one of names * out rows
};

/// Two linears with an activation between: feed-forward, text and time embedding. The names are the official indices.
struct Mlp {
  Mlp(const Scope& at, int64_t in, int64_t hidden, int64_t out, Activation activation, at::ScalarType compute,
      Role role = Role::Matmul);
  /// x as Linear's -> [..., out] in `compute`.
  Tensor operator()(const Operand& x) const;
  /// The same into a residual, as Linear's.
  void add_to(Tensor& residual, const Operand& x, const Tensor& gate, const kernels::Segments& ends) const;

  Linear first, second;  // "0" and "2"
  Activation activation;
};

/// x / sqrt(mean(x^2) + eps) * weight, sums in float32, in x's dtype.
struct RmsNorm {
  RmsNorm(const Scope& at, int64_t width, double eps);
  Tensor operator()(const Tensor& x) const;

  Weight weight;
  double eps;
};

/// Affine LayerNorm in float32.
struct LayerNorm {
  LayerNorm(const Scope& at, int64_t width, double eps);
  /// x [..., width] float32 -> the same in `dtype`.
  Tensor operator()(const Tensor& x, at::ScalarType dtype) const;

  Weight weight, bias;
  double eps;
};

/// Rows of a table, which stays where it is stored: only the rows of a prompt are read.
struct Embedding {
  Embedding(const Scope& at, int64_t rows, int64_t width);
  /// ids, each from 0 to rows - 1 -> [ids, width] in `dtype` on `device`. Throws c10::Error for other ids.
  Tensor operator()(at::IntArrayRef ids, at::Device device, at::ScalarType dtype) const;

  Weight weight;
};

}  // namespace wan
