// The VAE as a stream: what it remembers, when it may stop computing, what it refuses. Its numbers are tested by
// parity.
#include "models/vae/vae.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <set>

#include "models/files/error.h"
#include "models/vae/frames.h"
#include "models/vae/latent.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan::vae {
namespace {

constexpr char kPublished[] = "official_wan2_1_vae";

at::Tensor draw(at::IntArrayRef shape, Role) {
  int64_t inputs = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) inputs *= shape[axis];
  return at::randn(shape).div_(std::sqrt(double(inputs)));
}

/// A VAE of base width 4 with random weights.
const Vae& tiny() {
  static const Vae model = [] {
    at::set_num_threads(1);  // frames of a few pixels: more threads would only wait for each other
    at::manual_seed(3);
    Weights weights(draw);
    return Vae(weights.root(), Widths{.base = 4});
  }();
  return model;
}

/// Feeds chunk after chunk: `count` frames of grey after the first one.
std::vector<at::Tensor> encode_still(EncoderStream& stream, const at::Tensor& image, int64_t chunks) {
  const at::Tensor grey = at::zeros({3, 4, image.size(2), image.size(3)});
  std::vector<at::Tensor> latents = {stream.next(image)};
  for (int64_t chunk = 1; chunk < chunks; ++chunk) latents.push_back(stream.next(grey));
  return latents;
}

TEST(Vae, UsesEveryPublishedNameOnceAndReadsItsWidths) {
  Weights weights(Checkpoint::names_only(published_tensors(kPublished), kPublished));
  const Vae model(weights);
  EXPECT_NO_THROW(weights.finish());
  EXPECT_EQ(weights.checkpoint().tensors().size(), 194u);
  EXPECT_EQ(model.decoder.head.conv.weight.shape(), at::IntArrayRef({3, 96, 3, 3, 3}));
  EXPECT_TRUE(model.decoder.head.conv.weight.device().is_meta());
}

TEST(Vae, RefusesFilesWhoseWidthsAreNotAVaes) {
  const auto complaint = [](auto spoil) {
    auto tensors = published_tensors(kPublished);
    spoil(tensors);
    Weights weights(Checkpoint::names_only(std::move(tensors), "here"));
    try {
      const Vae model(weights);
      weights.finish();
    } catch (const ModelError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(has(complaint([](auto& t) { t.erase("encoder.conv1.weight"); }), "encoder.conv1.weight"));
  EXPECT_TRUE(has(complaint([](auto& t) { t["encoder.conv1.weight"].shape[0] = int64_t(1) << 61; }), "base width"));
  EXPECT_TRUE(has(complaint([](auto& t) { t["conv2.weight"].shape[0] = 48; }), "16 channels"));
  EXPECT_TRUE(
      has(complaint([](auto& t) { t.erase("decoder.upsamples.7.time_conv.bias"); }), "upsamples.7.time_conv.bias"));
  EXPECT_TRUE(
      has(complaint([](auto& t) { t["decoder.upsamples.3.resample.1.weight"].shape[0] = 1; }), "upsamples.3.resample"));
}

TEST(VaeDecoder, FramesDependOnNothingThatComesLater) {
  at::manual_seed(5);
  const at::Tensor latent = at::randn({16, 3, 2, 3});
  const at::Tensor whole = decode(tiny().decoder, latent);
  EXPECT_EQ(whole.sizes(), at::IntArrayRef({3, 9, 16, 24}));
  EXPECT_TRUE(at::equal(decode(tiny().decoder, latent.narrow(1, 0, 2)), whole.narrow(1, 0, 5)));
  EXPECT_TRUE(at::equal(decode(tiny().decoder, latent.narrow(1, 0, 1)), whole.narrow(1, 0, 1)));
  EXPECT_LE(whole.abs().max().item<float>(), 1);
}

TEST(VaeDecoder, StreamsOnOneModelAreIndependent) {
  at::manual_seed(6);
  const at::Tensor a = at::randn({16, 3, 2, 2}), b = at::randn({16, 3, 1, 3});
  DecoderStream first(tiny().decoder), second(tiny().decoder);
  std::vector<at::Tensor> of_a, of_b;
  for (int64_t t = 0; t < 3; ++t) {
    of_a.push_back(first.next(a.narrow(1, t, 1)));
    of_b.push_back(second.next(b.narrow(1, t, 1)));
  }
  EXPECT_TRUE(at::equal(at::cat(of_a, 1), decode(tiny().decoder, a)));
  EXPECT_TRUE(at::equal(at::cat(of_b, 1), decode(tiny().decoder, b)));
}

TEST(VaeDecoder, HoldsNoMoreAfterManyFramesThanAfterTwo) {
  at::manual_seed(7);
  for (Windows windows : {Windows::Shared, Windows::Own}) {
    DecoderStream stream(tiny().decoder, {}, windows);
    std::vector<int64_t> held;
    for (int64_t t = 0; t < 5; ++t) {
      stream.next(at::randn({16, 1, 2, 2}));
      held.push_back(stream.cache_bytes());
    }
    EXPECT_GT(held[1], 0);
    EXPECT_EQ(held[1], held[4]);
  }
}

TEST(VaeDecoder, OwnWindowsGiveTheSameBits) {
  at::manual_seed(11);
  DecoderStream shared(tiny().decoder), own(tiny().decoder, {}, Windows::Own);
  for (int64_t t = 0; t < 5; ++t) {
    const at::Tensor latent = at::randn({16, 1, 2, 3});
    EXPECT_TRUE(shared.next(latent).equal(own.next(latent))) << t;
  }
  EXPECT_GT(own.cache_bytes(), shared.cache_bytes());
  EXPECT_LT(own.cache_bytes(), 3 * shared.cache_bytes());
}

TEST(VaeDecoder, WeightsOnADeviceLieAsTheConvolutionsReadThem) {
  Weights weights(Checkpoint::names_only(published_tensors(kPublished), kPublished),
                  Place::on(at::Device(at::kCUDA, 0), at::kBFloat16).planned());
  const Vae model(weights, {.dtype = at::kHalf});
  for (const Weight& weight : {model.decoder.head.conv.weight, model.encoder.input.weight})
    EXPECT_TRUE(weight.tensor().is_contiguous(at::MemoryFormat::ChannelsLast3d) && weight.dtype() == at::kHalf);
  EXPECT_TRUE(model.decoder.levels[0].up->folded.tensor()[3].is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(model.encoder.levels[0].down->weight.tensor().is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(VaeDecoder, RefusesOtherShapes) {
  DecoderStream stream(tiny().decoder);
  EXPECT_THROW(stream.next(at::zeros({15, 1, 2, 2})), c10::Error);
  EXPECT_THROW(stream.next(at::zeros({16, 2, 2, 2})), c10::Error);
  stream.next(at::zeros({16, 1, 2, 2}));
  EXPECT_THROW(stream.next(at::zeros({16, 1, 2, 3})), c10::Error);
}

TEST(VaeEncoder, StillPicturesAreNotEncodedAgainAndGiveTheSameBits) {
  at::manual_seed(8);
  const at::Tensor image = at::rand({3, 1, 8, 16}) * 2 - 1;
  std::vector<std::set<std::string>> ran(1);
  const Observer observe = [&](std::string_view name, const at::Tensor&) { ran.back().insert(std::string(name)); };
  EncoderStream plain(tiny().encoder, {}, /*reuse=*/false), reusing(tiny().encoder, observe);
  const std::vector<at::Tensor> want = encode_still(plain, image, 32);
  std::vector<at::Tensor> got = {reusing.next(image)};
  const at::Tensor grey = at::zeros({3, 4, 8, 16});
  while (got.size() < want.size()) {
    ran.emplace_back();
    got.push_back(reusing.next(grey));
  }
  for (size_t chunk = 0; chunk < want.size(); ++chunk)
    EXPECT_TRUE(at::equal(got[chunk], want[chunk])) << "chunk " << chunk;
  // A frame that repeats from 5 on repeats from 15 on after five convolutions: chunk 5 is the first to be all of such.
  EXPECT_TRUE(ran[4].count("downsamples0"));
  EXPECT_FALSE(ran[5].count("downsamples0"));
  EXPECT_TRUE(ran[6].count("downsamples3"));
  EXPECT_FALSE(ran[7].count("downsamples3"));
  EXPECT_TRUE(ran[29].count("head"));
  EXPECT_TRUE(ran[30].empty());
  // The clip is not trivially constant.
  EXPECT_FALSE(at::equal(want[6], want[7]));
}

TEST(VaeEncoder, EncodesAgainWhenThePictureChanges) {
  at::manual_seed(9);
  const at::Tensor image = at::rand({3, 1, 8, 8});
  EncoderStream plain(tiny().encoder, {}, /*reuse=*/false), reusing(tiny().encoder);
  encode_still(plain, image, 9);  // the first two stages are skipped by then
  encode_still(reusing, image, 9);
  // One buffer, refilled, and lying as the encoder reads it: equal addresses are not equal frames.
  at::Tensor buffer = at::empty({4, 8, 8, 3}).permute({3, 0, 1, 2});
  for (int chunk = 0; chunk < 8; ++chunk) {
    buffer.copy_(at::rand({3, 4, 8, 8}));
    EXPECT_TRUE(at::equal(reusing.next(buffer), plain.next(buffer))) << "chunk " << chunk;
  }
}

TEST(VaeEncoder, WholeClipIsTheStreamOfItsChunks) {
  at::manual_seed(10);
  const at::Tensor video = at::rand({3, 9, 16, 8}) * 2 - 1;
  const at::Tensor whole = encode(tiny().encoder, video);
  EXPECT_EQ(whole.sizes(), at::IntArrayRef({16, 3, 2, 1}));
  EXPECT_TRUE(at::equal(encode(tiny().encoder, video.narrow(1, 0, 5)), whole.narrow(1, 0, 2)));
}

TEST(VaeLayers, ABiasThatTheNextNormAddsChangesNothing) {
  const Decoder& decoder = tiny().decoder;
  const ResidualBlock& block = decoder.levels[0].blocks[0];
  const at::Tensor bias = block.first.conv.bias.tensor();
  ASSERT_GT(bias.abs().max().item<double>(), 0.1) << "one that would be missed";
  at::manual_seed(21);
  FrameCache one(decoder.build.slots), other(decoder.build.slots);
  for (const int64_t frames : {1, 2, 2}) {
    const at::Tensor x = at::randn({frames, 4, 5, block.first.conv.weight.shape()[1]});
    EXPECT_TRUE(is_close(block.branch(x, other, true), block.branch(x, one, false), 1e-4)) << frames;
  }
}

TEST(VaeEncoder, RefusesOtherShapes) {
  EncoderStream stream(tiny().encoder);
  EXPECT_THROW(stream.next(at::zeros({3, 4, 8, 8})), c10::Error);   // the first frame comes alone
  EXPECT_THROW(stream.next(at::zeros({3, 1, 8, 12})), c10::Error);  // not a multiple of 8
  stream.next(at::zeros({3, 1, 8, 8}));
  EXPECT_THROW(stream.next(at::zeros({3, 1, 8, 8})), c10::Error);
  EXPECT_THROW(stream.next(at::zeros({3, 4, 8, 16})), c10::Error);
  EXPECT_THROW(encode(tiny().encoder, at::zeros({3, 4, 8, 8})), c10::Error);
}

TEST(VaeLatent, NormalisingIsUndone) {
  at::manual_seed(12);
  const at::Tensor x = at::randn({2, 3, 16}, at::kDouble);
  EXPECT_TRUE(is_close(normalise(denormalise(x)), x, 1e-12));
  EXPECT_NEAR(denormalise(at::zeros({16}, at::kDouble))[15].item<double>(), -0.2921, 1e-12);
  EXPECT_EQ(normalise(x.to(at::kBFloat16)).scalar_type(), at::kFloat);
}

TEST(VaeFrames, AreTruncatedNotRounded) {
  // -1 -> 0; just below 1 -> 254; 0 -> 127.5 -> 127; outside is clamped; NaN -> 0.
  const at::Tensor row = at::tensor({-1.0f, 0.999f, 0.0f, 1.0f, 3.0f, NAN}).view({1, 1, 1, 6}).expand({3, 2, 1, 6});
  const at::Tensor bytes = to_uint8(row);
  EXPECT_EQ(bytes.sizes(), at::IntArrayRef({2, 1, 6, 3}));
  EXPECT_TRUE(at::equal(bytes[1][0].select(1, 2), at::tensor({0, 254, 127, 255, 255, 0}, at::kByte)));
}

}  // namespace
}  // namespace wan::vae
