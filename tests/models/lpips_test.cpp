// LPIPS against the package lpips (tests/oracle/compare), and what is told of files that are not its weights.
#include "models/lpips/model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "models/files/error.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tests/support/lpips_weights.h"

namespace wan::lpips {
namespace {

const std::string kGolden = WAN_SOURCE_DIR "/tests/golden/compare/";

const Checkpoint& golden() {
  static const Checkpoint loaded = Checkpoint::open(kGolden + "expected.safetensors");
  return loaded;
}

/// As it is told of a file with these tensors.
Contents told(const NamedTensors& tensors) {
  StoredTensors stored;
  for (const auto& [name, tensor] : tensors)
    stored[name] = {at::kFloat, tensor.sizes().vec(), row_major_strides(tensor.sizes()), nullptr};
  return contents_of(stored);
}

/// The made-up network without a file: its weights in the order in which they are taken.
Model drawn(Backbone backbone) {
  const Contents names = {.features = "net.slice", .heads = "lin", .head_end = ".model.1", .backbone = backbone};
  const NamedTensors whole = lpips_whole(backbone);
  std::vector<std::string> order;
  int64_t tap = 0;
  for (const Layer& layer : layers(backbone)) {
    for (const char* leaf : {".weight", ".bias"}) order.push_back(names.path(layer, tap) + leaf);
    if (layer.tap) order.push_back(names.head(tap++) + ".weight");
  }
  size_t next = 0;
  Weights weights([&](at::IntArrayRef, Role) { return whole.at(order.at(next++)); });
  return Model(weights, names, weights, names);
}

/// The network of these tensors in a file; `heads` empty: all are in `features`.
Model model_of(const NamedTensors& features, const NamedTensors& heads = {}) {
  TemporaryFolder folder;
  const auto opened = [&](const NamedTensors& tensors, const char* name) {
    write_safetensors(folder / name, tensors);
    return Checkpoint::open(folder / name);
  };
  Weights first(opened(features, "a.safetensors"));
  const Contents of_first = contents_of(first.checkpoint().tensors());
  if (heads.empty()) {
    Model model(first, of_first, first, of_first);
    first.finish();
    return model;
  }
  Weights second(opened(heads, "b.safetensors"));
  Model model(first, of_first, second, contents_of(second.checkpoint().tensors()));
  first.finish();
  second.finish();
  return model;
}

void expect_golden(const Model& model, const std::string& name) {
  const c10::InferenceMode inference;
  const at::Tensor want = golden().map("lpips." + name + ".taps"), atol = golden().map("lpips." + name + ".atol");
  const std::vector<double> got = model.taps(golden().map("lpips.a"), golden().map("lpips.b"));
  ASSERT_EQ(got.size(), size_t(kTaps));
  for (int64_t tap = 0; tap < kTaps; ++tap)
    EXPECT_NEAR(got[size_t(tap)], want[tap].item<double>(), atol[tap].item<double>()) << name << ", tap " << tap;
  EXPECT_NEAR(model.distance(golden().map("lpips.a"), golden().map("lpips.b")), want.sum().item<double>(),
              atol.sum().item<double>());
}

}  // namespace

TEST(Lpips, ComputesWhatThePackageDoes) {
  expect_golden(drawn(Backbone::AlexNet), "alex");
  expect_golden(drawn(Backbone::Vgg16), "vgg");
}

TEST(Lpips, TakesAWholeFileOrTorchvisionsBackboneAndTheLinearLayersOfAnother) {
  expect_golden(model_of(lpips_whole(Backbone::AlexNet)), "alex");
  NamedTensors features = lpips_features(Backbone::AlexNet, /*torchvision=*/true);
  features["classifier.6.weight"] = at::zeros({10, 4});
  expect_golden(model_of(features, lpips_heads(Backbone::AlexNet)), "alex");
  expect_golden(model_of(features, lpips_heads(Backbone::AlexNet, "lins.")), "alex");
  expect_golden(model_of(features, lpips_heads(Backbone::AlexNet, "lin", ".model.0")), "alex");
  for (const char* file : {"alex_heads.pth", "alex_heads_python2.pth"}) {
    NamedTensors heads;
    const Checkpoint stored = Checkpoint::open(kGolden + file);
    for (const auto& [name, tensor] : stored.tensors()) heads[name] = stored.map(name);
    expect_golden(model_of(features, heads), "alex");
  }
}

TEST(Lpips, HalfWeightsComputeInFloat32) {
  NamedTensors whole = lpips_whole(Backbone::AlexNet);
  for (auto& [name, tensor] : whole) tensor = tensor.to(at::kHalf);
  const Model half = model_of(whole);
  for (auto& [name, tensor] : whole) tensor = tensor.to(at::kFloat);
  const c10::InferenceMode inference;
  EXPECT_EQ(half.taps(golden().map("lpips.a"), golden().map("lpips.b")),
            model_of(whole).taps(golden().map("lpips.a"), golden().map("lpips.b")));
}

TEST(Lpips, IsZeroOfEqualPicturesAndTheSameBytesWithAnyNumberOfThreads) {
  const c10::InferenceMode inference;
  const Model model = drawn(Backbone::AlexNet);
  const at::Tensor a = golden().map("lpips.a"), b = golden().map("lpips.b");
  EXPECT_EQ(model.distance(a, a), 0);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const std::vector<double> one = model.taps(a, b);
  at::set_num_threads(3);
  EXPECT_EQ(model.taps(a, b), one);
  at::set_num_threads(threads);
}

TEST(Lpips, TakesPicturesFromTheLeastSideOn) {
  const c10::InferenceMode inference;
  for (const Backbone backbone : {Backbone::AlexNet, Backbone::Vgg16}) {
    SCOPED_TRACE(name(backbone));
    const int64_t least = least_side(backbone);
    EXPECT_EQ(least, backbone == Backbone::AlexNet ? 31 : 16);
    const Model model = drawn(backbone);
    const auto picture = [](int64_t height, int64_t width, int64_t value) {
      return at::full({height, width, 3}, value, at::kByte);
    };
    EXPECT_TRUE(std::isfinite(model.distance(picture(least, least, 10), picture(least, least, 200))));
    EXPECT_THROW(model.distance(picture(least - 1, 40, 10), picture(least - 1, 40, 200)), c10::Error);
    EXPECT_THROW(model.distance(picture(40, 40, 10), picture(40, 41, 10)), c10::Error);
    EXPECT_THROW(model.distance(picture(40, 40, 10).to(at::kFloat), picture(40, 40, 10).to(at::kFloat)), c10::Error);
  }
}

TEST(Lpips, TellsFilesByTheirTensors) {
  const Contents alex = told(lpips_whole(Backbone::AlexNet));
  EXPECT_EQ(alex.features, "net.slice");
  EXPECT_EQ(alex.heads, "lin");
  EXPECT_TRUE(alex.known && alex.backbone == Backbone::AlexNet);
  // "net." is left out where all names begin with it (Checkpoint::open).
  NamedTensors bare;
  for (const auto& [name, tensor] : lpips_features(Backbone::Vgg16, /*torchvision=*/false))
    bare[name.substr(4)] = tensor;
  const Contents sliced = told(bare);
  EXPECT_EQ(sliced.features, "slice");
  EXPECT_EQ(sliced.heads, "");
  EXPECT_TRUE(sliced.known && sliced.backbone == Backbone::Vgg16);
  const Contents torchvision = told(lpips_features(Backbone::Vgg16, /*torchvision=*/true));
  EXPECT_EQ(torchvision.features, "features");
  EXPECT_TRUE(torchvision.known && torchvision.backbone == Backbone::Vgg16);
  const Contents heads = told(lpips_heads(Backbone::Vgg16));
  EXPECT_EQ(heads.features, "");
  EXPECT_EQ(heads.heads, "lin");
  EXPECT_TRUE(heads.known && heads.backbone == Backbone::Vgg16);
  EXPECT_TRUE(told(lpips_heads(Backbone::AlexNet)).backbone == Backbone::AlexNet);

  NamedTensors squeeze = lpips_heads(Backbone::Vgg16);
  squeeze["lin5.model.1.weight"] = at::zeros({1, 512, 1, 1});
  EXPECT_FALSE(told(squeeze).known) << "the linear layers of SqueezeNet";
  EXPECT_FALSE(
      told({{"features.0.weight", at::zeros({64, 3, 3, 3})}, {"features.3.squeeze.weight", at::zeros({16, 64, 1, 1})}})
          .known);
  const Contents other = told({{"blocks.0.weight", at::zeros({4, 4})}});
  EXPECT_EQ(other.features + other.heads, "");
}

TEST(Lpips, NamesWhatIsMissingAndWhatIsOfAnotherShape) {
  NamedTensors tensors = lpips_whole(Backbone::AlexNet);
  tensors.erase("net.slice4.8.bias");
  tensors.erase("lin3.model.1.weight");
  tensors["net.slice5.10.weight"] = at::zeros({256, 128, 3, 3});
  tensors["net.slice6.12.weight"] = at::zeros({4});
  try {
    model_of(tensors);
    ADD_FAILURE() << "was taken";
  } catch (const ModelError& error) {
    const std::string text = error.what();
    for (const char* part : {"2 missing (net.slice4.8.bias, lin3.model.1.weight)",
                             "net.slice5.10.weight must be [256, 256, 3, 3]", "1 unknown (net.slice6.12.weight)"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

}  // namespace wan::lpips
