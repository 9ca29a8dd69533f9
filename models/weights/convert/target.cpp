#include "models/weights/convert/target.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "kernels/dequantise/coded_matrix.h"
#include "models/weights/encode.h"

namespace wan::convert {
namespace {

constexpr std::pair<Target, std::string_view> kWords[] = {
    {Target::Bf16, "bf16"}, {Target::Fp8, "fp8"}, {Target::Int8, "int8"}, {Target::Q8_0, "gguf:Q8_0"}};

at::Tensor as_bytes(const at::Tensor& codes) {
  return codes.view(at::kByte);
}

Coded encode_fp8(const at::Tensor& rows, float largest) {
  constexpr float kLargest = 448;
  const float scale = fp8_scale(largest);
  const at::Tensor codes = (rows / scale).clamp_(-kLargest, kLargest).to(at::kFloat8_e4m3fn);
  return {as_bytes(codes), {}, codes.to(at::kFloat) * scale};
}

Coded encode_int8(const at::Tensor& rows) {
  kernels::CodedMatrix coded = row_codes(kernels::Code::Int8, rows.size(0), rows.size(1), rows.device());
  quantise_into(coded, 0, rows);
  return {coded.codes, coded.scale.flatten(), kernels::widen(coded, 0, rows.size(0), at::kFloat)};
}

/// Blocks of 32 values: a half of scale, 32 codes. As ggml's quantize_row_q8_0_ref: codes from the scale before it is rounded.
Coded encode_q8_0(const at::Tensor& rows) {
  constexpr int64_t kValues = 32, kBytes = 34;
  const int64_t blocks = rows.numel() / kValues;
  const at::Tensor values = rows.reshape({blocks, kValues});
  const at::Tensor scale = values.abs().amax(1) / 127.0f;
  const at::Tensor inverse = at::where(scale > 0, 1.0f / scale, 0.0f);
  const at::Tensor scaled = values * inverse.unsqueeze(1);
  // Halves away from zero, as roundf.
  const at::Tensor codes = (scaled.sign() * (scaled.abs() + 0.5f).floor()).clamp_(-127, 127);
  const at::Tensor half = scale.to(at::kHalf);
  const at::Tensor bytes = at::cat({half.unsqueeze(1).view(at::kByte), codes.to(at::kChar).view(at::kByte)}, 1);
  return {bytes.view({rows.size(0), rows.size(1) / kValues * kBytes}),
          {},
          (codes * half.to(at::kFloat).unsqueeze(1)).view(rows.sizes())};
}

}  // namespace

std::optional<Target> target_of(std::string_view word) {
  for (const auto& [target, known] : kWords)
    if (known == word) return target;
  return std::nullopt;
}

std::string_view target_words() {
  return "bf16, fp8, int8 or gguf:Q8_0";
}

bool takes(Target target, int64_t columns) {
  return columns > 0 && (target != Target::Q8_0 || columns % 32 == 0);
}

float fp8_scale(float largest) {
  return largest > 0 ? largest / 448 : 1;
}

Coded encode(Target target, const at::Tensor& rows, float largest) {
  switch (target) {
    case Target::Bf16: {
      const at::Tensor codes = rows.to(at::kBFloat16);
      return {codes, {}, codes.to(at::kFloat)};
    }
    case Target::Fp8:
      return encode_fp8(rows, largest);
    case Target::Int8:
      return encode_int8(rows);
    case Target::Q8_0:
      return encode_q8_0(rows);
  }
  throw std::logic_error("[convert] has no such target");
}

}  // namespace wan::convert
