// What denoise_bytes says against what tensors take.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

#include "engine/residency/needs.h"
#include "engine/residency/tile_needs.h"
#include "models/vae/vae.h"
#include "models/wan/model.h"
#include "models/weights/scope.h"
#include "tools/bench/counted_memory.h"

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
  // Without AVX-512, products in bfloat16 take minutes here.
  const bool is_quick = __builtin_cpu_supports("avx512f");
  expect_near(two, extent, {is_quick ? at::kBFloat16 : at::kFloat, true});
}

/// What decoding or encoding in tiles takes of a device: what waits on the host is not counted.
struct TileMemory {
  CountedMemory memory;
  int64_t before = 0, peak = 0;

  template <typename Stream>
  void look(const Stream& stream) {
    peak = std::max(peak, memory.peak() - stream.host_bytes() - before);
    memory.begin();
  }
  void begin() {
    memory.begin();
    before = memory.now();
  }
};

/// 720p in all but its width, in float32; base width 24.
void expect_tiles_near(bool decodes) {
  const c10::InferenceMode inference;
  // Of encoding, one chunk more: what is kept while frames repeat is there from the fourth on.
  constexpr int64_t kBase = 24;
  const int64_t chunks = decodes ? 3 : 4;
  const Extent extent{4 * chunks - 3, 720, 64};
  const TileNeeds needs =
      decodes ? tile_needs(kBase, extent, at::kFloat) : encode_tile_needs(kBase, extent, at::kFloat);
  at::manual_seed(3);
  const Draw draw = [](at::IntArrayRef shape, Role) { return at::randn(shape).div_(50); };
  Weights weights(draw);
  const vae::Vae vae(weights.root(), vae::Widths{.base = kBase});
  const at::Tensor latent = at::randn({16, 1, 90, 8}), first = at::rand({3, 1, 720, 64}),
                   later = at::rand({3, 4, 720, 64});
  TileMemory taken;
  taken.begin();
  const auto run = [&](auto& stream, const auto& chunk) {
    for (int64_t t = 0; t < chunks; ++t) {
      stream.next(chunk(t));
      taken.look(stream);
    }
    EXPECT_NEAR(double(stream.host_bytes()) / double(needs.on_host), 1, 0.1) << "on the host";
  };
  const double said = double(needs.device);
  if (decodes) {
    std::optional<vae::DecoderStream> stream;
    stream.emplace(
        vae.decoder, [&](std::string_view, const at::Tensor&) { taken.look(*stream); }, vae::Windows::Shared,
        vae::kTileRows);
    run(*stream, [&](int64_t) { return latent; });
  } else {
    std::optional<vae::EncoderStream> stream;
    stream.emplace(
        vae.encoder, [&](std::string_view, const at::Tensor&) { taken.look(*stream); }, /*reuse=*/true, vae::kTileRows);
    run(*stream, [&](int64_t t) { return t == 0 ? first : later; });
  }
  EXPECT_NEAR(said / double(taken.peak), 1, 0.1)
      << "said " << said / 1e6 << " MB, taken " << double(taken.peak) / 1e6 << " MB";
  std::printf("%s: said %.1f MB, taken %.1f MB, whole frames %.1f MB\n", decodes ? "decoding" : "encoding", said / 1e6,
              double(taken.peak) / 1e6, double(vae_bytes(kBase, extent, at::kFloat)) / 1e6);
}

TEST(RealActivations, AreThoseOfTheVaeInTiles) {
  expect_tiles_near(/*decodes=*/true);
  expect_tiles_near(/*decodes=*/false);
}

}  // namespace
}  // namespace wan
