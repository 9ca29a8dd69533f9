#include "tests/coded_checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <fstream>
#include <random>

namespace wan {
namespace {

/// Blocks of any bytes, until one stands for values that a weight can have.
void draw_block(const kernels::Coding& coding, std::mt19937_64& random, uint8_t* block) {
  std::vector<float> values(size_t(coding.elements));
  const auto is_usual = [&] {
    float most = 0;
    for (float value : values) {
      if (!(std::abs(value) <= 100)) return false;
      most = std::max(most, std::abs(value));
    }
    return most >= 1e-3f;
  };
  do {
    std::generate_n(block, coding.bytes, [&] { return uint8_t(random()); });
    coding.widen(block, 1, values.data());
  } while (!is_usual());
}

}  // namespace

std::vector<kernels::Code> all_codes() {
  std::vector<kernels::Code> codes;
  for (int code = 0; code <= int(kernels::Code::NVFP4); ++code) codes.push_back(kernels::Code(code));
  return codes;
}

kernels::CodedMatrix random_codes(kernels::Code code, int64_t rows, int64_t columns, uint64_t seed) {
  const kernels::Coding& coding = kernels::coding_of(code);
  std::mt19937_64 random(seed);
  const at::Tensor codes = at::empty({rows, columns / coding.elements * coding.bytes}, at::kByte);
  auto* bytes = codes.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < codes.numel(); i += coding.bytes) draw_block(coding, random, bytes + i);
  return {.coding = &coding, .columns = columns, .codes = codes};
}

kernels::CodedMatrix as_q8_0(const at::Tensor& values) {
  const at::Tensor blocks = values.to(at::kFloat).view({values.size(0), -1, 32});
  const at::Tensor scale = blocks.abs().amax(2, /*keepdim=*/true).div(127).to(at::kHalf), wide = scale.to(at::kFloat);
  const at::Tensor codes = blocks.div(at::where(wide == 0, at::ones_like(wide), wide)).round().clamp(-127, 127);
  const at::Tensor bytes = at::cat({scale.view(at::kByte), codes.to(at::kChar).view(at::kByte)}, 2);
  return {.coding = &kernels::coding_of(kernels::Code::Q8_0),
          .columns = values.size(1),
          .codes = bytes.flatten(1).contiguous()};
}

kernels::CodedMatrix as_q4_k(const at::Tensor& values) {
  using at::indexing::Slice;
  const at::Tensor blocks = values.to(at::kFloat).reshape({-1, 8, 32});
  const auto divided = [](const at::Tensor& a, const at::Tensor& b) { return at::where(b == 0, 0.0f, a / b); };
  const at::Tensor least = -blocks.amin(2).clamp_max(0);  // what is taken off each value, >= 0
  const at::Tensor step = (blocks.amax(2).clamp_min(0) + least) / 15;
  // The halves that six bits of each 32 values multiply.
  const at::Tensor d = (step.amax(1, /*keepdim=*/true) / 63).to(at::kHalf);
  const at::Tensor dmin = (least.amax(1, /*keepdim=*/true) / 63).to(at::kHalf);
  const at::Tensor sc = divided(step, d.to(at::kFloat)).round().clamp(0, 63);
  const at::Tensor mn = divided(least, dmin.to(at::kFloat)).round().clamp(0, 63);
  const at::Tensor q = divided(blocks + (dmin.to(at::kFloat) * mn).unsqueeze(2), (d.to(at::kFloat) * sc).unsqueeze(2))
                           .round()
                           .clamp(0, 15)
                           .to(at::kByte);
  // Bytes of scales: six bits of the first four and the high two of the last, the same of mn, the low four of the last.
  const at::Tensor s = sc.to(at::kByte), m = mn.to(at::kByte);
  const auto first = [](const at::Tensor& x) { return x.index({Slice(), Slice(0, 4)}); };
  const auto last = [](const at::Tensor& x) { return x.index({Slice(), Slice(4, 8)}); };
  const auto joined = [&](const at::Tensor& x) { return first(x) + last(x).div(16, "floor") * 64; };
  const at::Tensor low = last(s).remainder(16) + last(m).remainder(16) * 16;
  const at::Tensor pairs = q.view({-1, 4, 2, 32});
  const at::Tensor nibbles = (pairs.select(2, 0) + pairs.select(2, 1) * 16).flatten(1);
  const at::Tensor bytes = at::cat({d.view(at::kByte), dmin.view(at::kByte), joined(s), joined(m), low, nibbles}, 1);
  return {.coding = &kernels::coding_of(kernels::Code::Q4_K),
          .columns = values.size(1),
          .codes = bytes.view({values.size(0), -1}).contiguous()};
}

Checkpoint coded_checkpoint(const Checkpoint& from, const std::filesystem::path& file,
                            const std::function<bool(const std::string&)>& takes, const Encode& encode) {
  StoredTensors tensors = from.tensors();
  std::vector<StoredTensor*> coded;
  uint64_t offset = 0;
  std::ofstream out(file, std::ios::binary);
  for (auto& [name, tensor] : tensors) {
    if (!takes(name)) continue;
    const kernels::CodedMatrix matrix = encode(name, from.map(name));
    out.write(static_cast<const char*>(matrix.codes.const_data_ptr()), std::streamsize(matrix.codes.nbytes()));
    tensor = {at::kFloat, {matrix.rows(), matrix.columns}, {matrix.columns, 1}, nullptr, offset, matrix.coding};
    offset += matrix.codes.nbytes();
    coded.push_back(&tensor);
  }
  out.close();
  const auto mapped = MappedFile::open(file);
  for (StoredTensor* tensor : coded) tensor->file = mapped;
  return Checkpoint::names_only(std::move(tensors), file.string());
}

}  // namespace wan
