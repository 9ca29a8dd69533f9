// What denoise_bytes says against what tensors take.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/residency/needs.h"
#include "models/wan/model.h"
#include "models/weights/scope.h"
#include "tests/support/counted_memory.h"

namespace wan {
namespace {

struct Case {
  at::ScalarType compute;
  bool copied;
};

/// The peak of one step of both branches above what is there before it, in bytes. Weights of one shape are one tensor.
int64_t measured(const WanConfig& config, const Extent& extent, const Case& how) {
  const c10::InferenceMode inference;
  std::map<std::vector<int64_t>, at::Tensor> known;
  const Draw draw = [&](at::IntArrayRef shape, Role) {
    at::Tensor& tensor = known[shape.vec()];
    if (!tensor.defined()) tensor = at::full(shape, 0.01, shape.size() == 2 ? how.compute : at::kFloat);
    return tensor;
  };
  Place place;
  place.compute = how.compute;
  place.mapped = !how.copied;
  constexpr int64_t kText = 64;
  const StoredTensors shapes = {{"text_embedding.0.weight", {at::kFloat, {config.dim, kText}, {kText, 1}, nullptr, 0}}};
  Weights weights(draw, place, Checkpoint::names_only(shapes, "drawn"));
  const WanModel model(weights.root(), config, place.compute);
  const at::Tensor latent = at::zeros({16, (extent.frames - 1) / 4 + 1, extent.height / 8, extent.width / 8});
  Context first = model.context(at::zeros({8, kText})), second = model.context(at::zeros({8, kText}));
  Context* const contexts[] = {&first, &second};
  const Rope rope = model.rope(latent);

  CountedMemory memory;
  memory.begin();
  const int64_t before = memory.now();
  model(latent, rope, 500, contexts);
  return memory.peak() - before;
}

void expect_near(const WanConfig& config, const Extent& extent, const Case& how) {
  Placement placement;
  placement.dtype = how.compute;
  const double said = double(denoise_bytes(config, extent, placement, how.copied));
  const double taken = double(measured(config, extent, how));
  EXPECT_NEAR(said / taken, 1, 0.1) << "said " << said / 1e6 << " MB, taken " << taken / 1e6 << " MB";
}

TEST(Activations, AreThoseOfANarrowTransformer) {
  const WanConfig narrow = {1024, 2816, 256, 16, 16, 8, 2, 128, 1e-6};
  for (const Case& how : {Case{at::kFloat, false}, Case{at::kFloat, true}, Case{at::kBFloat16, true}}) {
    SCOPED_TRACE(std::string(c10::toString(how.compute)) + (how.copied ? ", copied" : ", mapped"));
    expect_near(narrow, {13, 256, 256}, how);
  }
}

TEST(RealActivations, AreThoseOfTwoBlocksAtFullWidth) {
  WanConfig two = kWanT2vA14b;
  two.num_layers = 2;
  const Extent extent{13, 512, 512};
  ASSERT_EQ(extent.tokens(), 4096);
  expect_near(two, extent, {at::kBFloat16, true});
}

}  // namespace
}  // namespace wan
