// Weights in codes that are filled with those of another block.
#include <limits>

#include "models/files/error.h"
#include "models/layers.h"
#include "models/weights/format/safetensors.h"
#include "tests/coded_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

using kernels::Code;
using kernels::CodedMatrix;

constexpr int64_t kRows = 24, kColumns = 512;

/// A device's copies, on the CPU.
Place copied() {
  return {.mapped = false};
}

Weight weight_of(const std::vector<StoredPart>& parts, const Place& place) {
  std::vector<Part> names;
  for (const StoredPart& part : parts) names.push_back({"part" + std::to_string(names.size()), part.shape()});
  return Weight(names, Role::Block, {.linear = true}, place, parts);
}

/// The matrix of all parts, in float64.
Tensor values_of(const std::vector<StoredPart>& parts) {
  std::vector<Tensor> values;
  for (const StoredPart& part : parts) values.push_back(values_of(part, kernels::default_context()).to(at::kDouble));
  return at::cat(values);
}

const void* address(const StoredPart& part) {
  return (part.is_coded() ? part.codes->codes : part.values).const_data_ptr();
}
const InCodes& in_codes(const Weight& weight) {
  return std::get<InCodes>(weight.storage());
}

TEST(CodedRefill, ARefillKeepsMemoryWhereTheCodingIsTheSame) {
  at::manual_seed(33);
  const auto parts = [](Code v, uint64_t seed) {
    return std::vector<StoredPart>{random_codes(Code::Q4_K, kRows, kColumns, seed),
                                   random_codes(v, kRows, kColumns, seed + 1)};
  };
  const auto bytes = [](const Weight& weight) {
    uint64_t sum = 0;
    for (const StoredPart& part : in_codes(weight).parts) sum += part.codes->codes.nbytes();
    return sum;
  };
  const auto same = [&](const Weight& weight, const std::vector<StoredPart>& want) {
    const Tensor x = at::randn({4, kColumns});
    return product(x, weight, {}, Activation::None, at::kFloat)
        .equal(product(x, weight_of(want, copied()), {}, Activation::None, at::kFloat));
  };
  Weight slot = weight_of(parts(Code::Q6_K, 1), copied());
  const void *q = address(in_codes(slot).parts[0]), *v = address(in_codes(slot).parts[1]);
  slot.refill(parts(Code::Q6_K, 11));
  EXPECT_TRUE(same(slot, parts(Code::Q6_K, 11)));
  EXPECT_EQ(address(in_codes(slot).parts[0]), q);
  EXPECT_EQ(address(in_codes(slot).parts[1]), v);
  const uint64_t before = slot.bytes();
  slot.refill(parts(Code::Q4_K, 21));  // v of a layer of Q4_K_M that is not among those with more bits
  EXPECT_TRUE(same(slot, parts(Code::Q4_K, 21)));
  EXPECT_EQ(address(in_codes(slot).parts[0]), q);
  EXPECT_LT(slot.bytes(), before);
  EXPECT_EQ(slot.bytes(), bytes(slot));
  // A layer in floats, and back.
  const std::vector<StoredPart> floats = {at::randn({kRows, kColumns}), at::randn({kRows, kColumns})};
  slot.refill(floats);
  EXPECT_TRUE(slot.tensor().equal(at::cat({floats[0].values, floats[1].values})));
  slot.refill(parts(Code::Q6_K, 1));
  EXPECT_TRUE(same(slot, parts(Code::Q6_K, 1)));
  EXPECT_THROW(slot.refill({floats[0]}), c10::Error);
  EXPECT_THROW(slot.refill({floats[0], random_codes(Code::Q4_K, kRows, 256, 1)}), c10::Error);
  EXPECT_TRUE(same(slot, parts(Code::Q6_K, 1)));
}

TEST(CodedRefill, ARefillTakesTheScalesAlong) {
  const auto scaled = [](float scale, float factor) {
    CodedMatrix matrix = random_codes(Code::E4M3, kRows, kColumns, 3);
    matrix.scale = at::full({kRows, 1}, scale);
    matrix.scale_columns = kColumns;
    matrix.factor = factor;
    return matrix;
  };
  Weight slot = weight_of({scaled(2, 1)}, copied());
  const void* before = in_codes(slot).parts[0].codes->scale.const_data_ptr();
  slot.refill({scaled(3, 5)});
  EXPECT_EQ(in_codes(slot).parts[0].codes->scale.const_data_ptr(), before);
  EXPECT_TRUE(values_of(in_codes(slot).parts).equal(values_of({scaled(3, 5)})));
}

TEST(CodedRefill, ARefillWithBrokenScalesWritesNothing) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {{"a.q.weight", at::ones({2, 4}).to(at::kFloat8_e4m3fn)},
                                               {"a.k.weight", at::ones({2, 4}).to(at::kFloat8_e4m3fn)},
                                               {"b.q.weight", at::zeros({2, 4}).to(at::kFloat8_e4m3fn)},
                                               {"b.k.weight", at::zeros({2, 4}).to(at::kFloat8_e4m3fn)},
                                               {"scale", at::full({2, 1}, std::numeric_limits<float>::infinity())}});
  const Checkpoint file = Checkpoint::open(folder / "x.safetensors");
  StoredTensors tensors = file.tensors();
  StoredTensor& broken = tensors.at("b.k.weight");
  StoredScales scales;
  scales.blocks = tensors.at("scale");
  scales.columns = 4;
  broken.dtype = at::kFloat;
  broken.coding = &kernels::coding_of(Code::E4M3);
  broken.scales = std::make_shared<const StoredScales>(scales);
  const Checkpoint all = Checkpoint::names_only(tensors, "x");
  Weights weights(all, copied());
  const Linear q(weights.root() / "a" / "q", 4, 2, at::kFloat, Bias::No),
      k(weights.root() / "a" / "k", 4, 2, at::kFloat, Bias::No);
  std::vector<Weight> slot = weights.taken("a.");
  EXPECT_THROW(refill(slot, all, "a.", "b."), ModelError);
  EXPECT_TRUE(q(at::ones({1, 4})).equal(at::full({1, 2}, 4.0f)));
}

}  // namespace
}  // namespace wan
