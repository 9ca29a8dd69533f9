// Weights in the codes of checkpoints: widening them, and linears that widen as they multiply.
#include <ATen/ATen.h>

#include "kernels/dequantise/coded_matrix.h"
#include "kernels/dequantise/fp8_product.h"
#include "tools/bench/ops.h"

namespace wan::bench {
namespace {

using kernels::Code, kernels::CodedMatrix;

/// A way to keep a weight: codes, and the scales beside them.
struct Kept {
  std::string name;
  Code code;
  at::ScalarType scale = at::kByte;  // kByte: no scales
  int64_t scale_columns = 0;         // 0: one for a row
  int64_t rotation = 0;
};

std::vector<Kept> kept() {
  std::vector<Kept> all = {{"F8_E4M3", Code::E4M3, at::kFloat},
                           {"F8_E5M2", Code::E5M2, at::kFloat},
                           {"MXFP8", Code::E4M3, at::kFloat8_e8m0fnu, 32},
                           {"I8", Code::Int8, at::kFloat},
                           {"I8 rotated", Code::Int8, at::kFloat, 0, 256},
                           {"NVFP4 with scales apart", Code::E2M1Swapped, at::kFloat8_e4m3fn, 16}};
  for (int code = int(Code::Q4_0); code <= int(Code::NVFP4); ++code)
    all.push_back({std::string(kernels::coding_of(Code(code)).name), Code(code)});
  return all;
}

/// Whether rows of this length can be kept that way.
bool takes(const Kept& kept, int64_t columns) {
  return columns % std::max({kernels::coding_of(kept.code).elements, kept.scale_columns, kept.rotation}) == 0;
}

/// Random codes. With two bits of each byte zero no exponent is that of infinity, whatever the format.
CodedMatrix drawn(const Site& site, const Kept& kept, int64_t rows, int64_t columns) {
  constexpr int kFinite = 0xBB;
  const kernels::Coding& coding = kernels::coding_of(kept.code);
  const auto bytes = [&](int64_t across) {
    return at::randint(0, 256, {rows, across}, at::TensorOptions(site.device).dtype(at::kByte));
  };
  CodedMatrix matrix{.coding = &coding,
                     .columns = columns,
                     .codes = bytes(columns / coding.elements * coding.bytes).bitwise_and_(kFinite)};
  matrix.rotation = kept.rotation;
  if (kept.scale == at::kByte) return matrix;
  matrix.scale_columns = kept.scale_columns ? kept.scale_columns : columns;
  const int64_t across = columns / matrix.scale_columns;
  // 2^-7 to 2^8 in E8M0; the lowest bits of E4M3 are positive and small.
  if (kept.scale == at::kFloat8_e8m0fnu)
    matrix.scale = bytes(across).bitwise_and_(15).add_(120).view(kept.scale);
  else if (kept.scale == at::kFloat8_e4m3fn)
    matrix.scale = bytes(across).bitwise_and_(63).view(kept.scale);
  else
    matrix.scale = at::rand({rows, across}, at::TensorOptions(site.device).dtype(at::kFloat)).add_(0.5);
  return matrix;
}

double widening_bytes(const CodedMatrix& matrix, at::ScalarType dtype) {
  return double(matrix.bytes()) + double(matrix.rows() * matrix.columns) * double(at::elementSize(dtype));
}

Contest widening(const Site& site, const Kept& kept, int64_t rows, int64_t columns) {
  std::vector<CodedMatrix> matrices = {drawn(site, kept, rows, columns)};
  const double bytes = widening_bytes(matrices[0], site.dtype);
  for (size_t set = 1; set < rotation(bytes); ++set) matrices.push_back(drawn(site, kept, rows, columns));
  const Tensor some = sampled_rows(rows, site.device);
  const Tensor want = kernels::reference::widen(matrices[0], 0, rows, at::kFloat).index_select(0, some);
  const at::ScalarType dtype = site.dtype;
  Contest contest{.flops = 0,
                  .bytes = bytes,
                  .ceiling = "copy",
                  .sets = matrices.size(),
                  .error = [some, want](const Tensor& y) { return relative_l2(y.index_select(0, some), want); },
                  .bound = 4e-3,
                  .contestants = {}};
  contest.contestants.push_back({"kernels::widen", true, [=, context = site.context](size_t set) {
                                   return kernels::widen(matrices[set], 0, rows, dtype, *context);
                                 }});
  return contest;
}

/// The weight's values are ready in the library's product, which is what widening costs time beside.
Contest linear(const Site& site, const Kept& kept, int64_t tokens, int64_t in, int64_t out) {
  const double size = double(at::elementSize(site.dtype));
  std::vector<Tensor> x(rotation(size * double(tokens * in)));
  for (Tensor& one : x) one = site.randn({tokens, in});
  const CodedMatrix weight = drawn(site, kept, out, in);
  const Tensor bias = site.randn({out}), rows = sampled_rows(tokens, site.device);
  const Tensor values = kernels::widen(weight, 0, out, site.dtype, *site.context);
  const Tensor want =
      at::linear(x[0].index_select(0, rows).to(at::kDouble), values.to(at::kDouble), bias.to(at::kDouble));
  Contest contest{.flops = 2.0 * double(tokens) * double(in) * double(out),
                  .bytes = size * double(tokens * (in + out)) + double(weight.bytes()),
                  .ceiling = "bf16",
                  .sets = x.size(),
                  .error = [rows, want](const Tensor& y) { return relative_l2(y.index_select(0, rows), want); },
                  .bound = 4.5e-3,
                  .contestants = {}};
  contest.contestants.push_back({"kernels::linear_coded", true, [=, context = site.context](size_t set) {
                                   return kernels::linear_coded(x[set], weight, bias, kernels::Activation::None,
                                                                *context);
                                 }});
  contest.contestants.push_back(
      {"at::linear", false, [=](size_t set) { return at::linear(x[set], values, bias); }, "its weight widened before"});
  return contest;
}

/// The codes by rows that are rounded to codes, too. Its error is that of the rounding, 2.6e-2, against rows as they were.
Contest fp8_product(const Site& site, const Kept& kept, int64_t tokens, int64_t in, int64_t out) {
  const double size = double(at::elementSize(site.dtype));
  std::vector<Tensor> x(rotation(size * double(tokens * in)));
  for (Tensor& one : x) one = site.randn({tokens, in});
  const CodedMatrix weight = drawn(site, kept, out, in);
  const Tensor bias = site.randn({out}), rows = sampled_rows(tokens, site.device);
  const Tensor want =
      at::linear(x[0].index_select(0, rows).to(at::kDouble),
                 kernels::widen(weight, 0, out, at::kFloat, *site.context).to(at::kDouble), bias.to(at::kDouble));
  Contest contest{.flops = 2.0 * double(tokens) * double(in) * double(out),
                  .bytes = size * double(tokens * (in + out)) + double(weight.bytes()),
                  .ceiling = "fp8",
                  .sets = x.size(),
                  .error = [rows, want](const Tensor& y) { return relative_l2(y.index_select(0, rows), want); },
                  .bound = 3.5e-2,
                  .contestants = {}};
  contest.contestants.push_back({"kernels::linear_fp8", true, [=, context = site.context](size_t set) {
                                   return kernels::linear_fp8(x[set], weight, bias, kernels::Activation::None,
                                                              *context);
                                 }});
  contest.contestants.push_back({"kernels::linear_coded", true,
                                 [=, context = site.context](size_t set) {
                                   return kernels::linear_coded(x[set], weight, bias, kernels::Activation::None,
                                                                *context);
                                 },
                                 "widens instead"});
  return contest;
}

struct Shape {
  int64_t in, out;
  std::string name() const { return std::to_string(in) + " -> " + std::to_string(out); }
};

}  // namespace

std::vector<Plan> coded_plans(const Site& site) {
  const Shape shapes[] = {{site.config.dim, site.config.dim}, {site.config.dim, site.config.ffn_dim}};
  std::vector<Plan> plans;
  for (const Kept& kept : kept()) {
    if (!takes(kept, site.config.dim)) continue;
    for (const Shape& shape : shapes)
      plans.push_back(
          {"ops", "widen " + kept.name, shape.name(), [=] { return widening(site, kept, shape.out, shape.in); }});
  }
  // All storages where widening weighs most, one of each kind where products do.
  const Resolution &few = site.resolutions.back(), &many = site.resolutions.front();
  const auto add = [&](const Kept& kept, const Resolution& at) {
    for (const Shape& shape : shapes)
      plans.push_back({"ops", "linear " + kept.name, shape.name() + ", " + at.shape(),
                       [=, tokens = at.tokens()] { return linear(site, kept, tokens, shape.in, shape.out); }});
  };
  for (const Kept& kept : kept()) {
    if (!takes(kept, site.config.dim)) continue;
    add(kept, few);
    const bool of_each_kind = kept.name == "F8_E4M3" || kept.name == "I8 rotated" || kept.name == "Q4_K";
    if (of_each_kind && site.resolutions.size() > 1) add(kept, many);
  }
  const Kept e4m3 = kept().front();
  for (const Resolution& at : site.resolutions)
    for (const Shape& shape : shapes)
      plans.push_back({"ops", "linear F8_E4M3 in fp8", shape.name() + ", " + at.shape(),
                       [=, tokens = at.tokens()] { return fp8_product(site, e4m3, tokens, shape.in, shape.out); }});
  return plans;
}

}  // namespace wan::bench
