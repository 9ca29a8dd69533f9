// Colours as a linear map of latents: the fit against a decoder that is one, and the picture of a preview.
#include "models/vae/latent_rgb.h"

#include <gtest/gtest.h>

#include "models/vae/latent.h"
#include "tests/support.h"

namespace wan::vae {
namespace {

using at::Tensor;

/// A decoder that is linear but for a pattern within each 8x8 pixels whose mean is 0.
Tensor decoded_by(const Tensor& factors, const Tensor& latent) {
  const int64_t height = latent.size(2), width = latent.size(3);
  const Tensor rows = latent.reshape({kLatentChannels, -1}).t();
  const Tensor colours = (at::mm(rows, factors.narrow(0, 0, kLatentChannels)) + factors[kLatentChannels]).t();
  const Tensor pixels = colours.reshape({3, 1, height, width}).repeat_interleave(8, 2).repeat_interleave(8, 3);
  const Tensor pattern = at::arange(8, at::kDouble).sub_(3.5).div_(40).repeat({width});
  return pixels + pattern;
}

struct Linear {
  Linear() {
    at::manual_seed(11);
    factors = at::randn({kLatentChannels + 1, 3}, at::kDouble) * 0.02;
    factors[kLatentChannels].copy_(at::tensor({0.1, -0.2, 0.3}, at::kDouble));
  }
  DecodedLatent drawn(int64_t height, int64_t width) const {
    const Tensor latent = at::randn({kLatentChannels, 1, height, width}, at::kDouble);
    return {latent, decoded_by(factors, latent)};
  }
  Tensor factors;
};

}  // namespace

// 1e-7: what keeps the solution finite weighs 1e-9 of a channel.
TEST(LatentRgb, TheFitOfALinearDecoderIsExact) {
  const Linear decoder;
  const LatentRgb map = fit_latent_rgb({decoder.drawn(6, 5), decoder.drawn(3, 7)});
  EXPECT_EQ(map.factors.scalar_type(), at::kDouble);
  EXPECT_TRUE(is_close(map.factors, decoder.factors, 1e-7));
  const DecodedLatent other = decoder.drawn(4, 9);
  const Tensor want = at::avg_pool2d(other.frame.select(1, 0), {8, 8});
  EXPECT_TRUE(is_close(map(other.latent.select(1, 0)), want, 1e-6)) << "float32";
}

TEST(LatentRgb, ChannelsThatNeverChangeAreLeftOut) {
  const Linear decoder;
  DecodedLatent drawn = decoder.drawn(8, 8);
  drawn.latent[3].fill_(0.5);
  drawn.frame = decoded_by(decoder.factors, drawn.latent);
  const LatentRgb map = fit_latent_rgb({drawn});
  EXPECT_TRUE(is_close(map.factors[3], at::zeros({3}, at::kDouble), 1e-12));
  EXPECT_TRUE(is_close(map(drawn.latent.select(1, 0)), at::avg_pool2d(drawn.frame.select(1, 0), {8, 8}), 1e-6));
  drawn.latent.fill_(0);
  const LatentRgb still = fit_latent_rgb({drawn});
  EXPECT_TRUE(still.factors.isfinite().all().item<bool>());
}

// Fewer latent pixels than channels: many maps would do.
TEST(LatentRgb, AFitOfFewPixelsIsFinite) {
  const LatentRgb map = fit_latent_rgb({Linear().drawn(2, 2)});
  EXPECT_TRUE(map.factors.isfinite().all().item<bool>());
}

TEST(LatentRgb, WhatFilesCannotHoldCountsAsTheNearest) {
  const Linear decoder;
  DecodedLatent drawn = decoder.drawn(6, 6);
  drawn.frame.fill_(3);
  const LatentRgb map = fit_latent_rgb({drawn});
  EXPECT_TRUE(is_close(map(drawn.latent.select(1, 0)), at::ones({3, 6, 6}), 1e-6));
}

TEST(LatentRgb, OtherShapesAreRefused) {
  const Linear decoder;
  const DecodedLatent drawn = decoder.drawn(2, 3);
  EXPECT_THROW(fit_latent_rgb({}), c10::Error);
  EXPECT_THROW(fit_latent_rgb({{drawn.latent, drawn.frame.narrow(2, 0, 8)}}), c10::Error);
  EXPECT_THROW(fit_latent_rgb({{drawn.latent.narrow(0, 0, 15), drawn.frame}}), c10::Error);
  const LatentRgb map{decoder.factors};
  EXPECT_THROW(map(drawn.latent), c10::Error);
  EXPECT_THROW(preview_picture(map, drawn.latent.select(1, 0)), c10::Error);
}

TEST(LatentRgb, APictureIsOfTheMiddleFrame) {
  Tensor factors = at::zeros({kLatentChannels + 1, 3}, at::kDouble);
  factors[0][0] = 1;                // red is channel 0
  factors[kLatentChannels][1] = 2;  // green is too bright for a file
  factors[kLatentChannels][2] = -1;
  Tensor latents = at::full({kLatentChannels, 5, 2, 3}, 100, at::kFloat);
  latents.select(1, 2).fill_(0);
  latents[0][2][0][0] = 0.5;
  latents[0][2][1][2] = -0.5;
  const Tensor picture = preview_picture({factors}, latents);
  EXPECT_EQ(picture.sizes(), (std::vector<int64_t>{4, 6, 3}));
  EXPECT_EQ(picture.scalar_type(), at::kByte);
  EXPECT_TRUE(picture.is_contiguous());
  const auto colour = [&](int64_t y, int64_t x) {
    const Tensor pixel = picture[y][x];
    return std::vector<int>{pixel[0].item<int>(), pixel[1].item<int>(), pixel[2].item<int>()};
  };
  EXPECT_EQ(colour(0, 0), (std::vector<int>{191, 255, 0}));  // 0.75 * 255, truncated
  EXPECT_EQ(colour(3, 5), (std::vector<int>{63, 255, 0}));
  EXPECT_EQ(colour(3, 0), (std::vector<int>{127, 255, 0}));
}

}  // namespace wan::vae
