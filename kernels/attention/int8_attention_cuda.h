// The 8-bit attention, bound to tensors (kernels/norm/norm_cuda.h says what such functions have in common).
#pragma once

#include <optional>

#include "kernels/attention/int8_attention.h"

namespace wan::kernels::cuda {

/// Keys where `centre` is defined, queries otherwise.
std::optional<QuantisedHeads> quantise_heads(const Tensor& x, const Tensor& centre, double factor,
                                             const Context& context = default_context());
/// How 8-bit attention multiplies. Half sums and wgmma have not run on a GPU yet: they are measured (wan-bench) and
/// tested; wgmma is also taken where it is on (kernels/op/options.h), half sums where sums_selector finds them faster.
/// Where `skip` is given, blocks are left out and counted.
struct Int8Way {
  Values values;
  Sums sums = Sums::Float;
  Instructions instructions = Instructions::Mma;
  SkipSoftmax* skip = nullptr;
};
/// v as launch_quantise_values leaves it, in the range of these sums.
struct CodedValues {
  Tensor codes, scale;
};
/// nullopt, too, on a GPU older than sm_89.
std::optional<CodedValues> code_values(const Tensor& v, Sums sums, const Context& context = default_context());
/// attention_int8 behind the quantisation: `coded` is looked at where the values are float8, `v` otherwise. nullopt,
/// too, where the GPU does not have the instructions.
std::optional<Tensor> attend_codes(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                                   const std::optional<CodedValues>& coded, const Int8Way& way,
                                   const Context& context = default_context());
/// The same with values coded on the way.
std::optional<Tensor> attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                                     const Int8Way& way, const Context& context = default_context());

}  // namespace wan::kernels::cuda
