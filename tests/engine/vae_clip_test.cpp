// A VAE whose values leave the range of half precision: the clip is done again in float32, on the CPU as on CUDA.
#include "engine/frames/vae_clip.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/parts.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// The tiny checkpoint with a VAE whose residual stream is `scale` times as large. Its output is the same: every branch
/// of a residual block begins with a norm, and so does the head.
class VaeRangeTest : public testing::Test {
 protected:
  void SetUp() override {
    at::manual_seed(3);
    latents_ = at::randn({16, 3, 2, 3});
    video_ = at::rand({3, 5, 16, 16}) * 2 - 1;
  }

  Networks models(double decoder_scale, double encoder_scale, at::ScalarType dtype) {
    const fs::path tiny = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints/Wan2.2-T2V-A14B";
    ModelParts folder = parts_of(tiny, Task::T2V);
    const Checkpoint file = Checkpoint::open(folder.path_of(Network::Vae));
    std::map<std::string, at::Tensor> tensors;
    for (const auto& [name, stored] : file.tensors()) {
      const double scale = name.starts_with("decoder.") ? decoder_scale : encoder_scale;
      tensors[name] = file.map(name) * (in_stream(name) ? scale : 1);
    }
    fs::path& vae = folder.networks.at(Network::Vae).path;
    vae = folder_ / (std::to_string(decoder_scale) + "-" + std::to_string(encoder_scale) + ".safetensors");
    write_safetensors(vae, tensors);
    Placement placement;
    placement.vae = dtype;
    return Networks(folder, placement, Networks::Keep::All,
                    Log{[this](std::string_view event, const Log::Fields& fields) {
                      if (event == "vae" && no_room_) throw c10::OutOfMemoryError({"", "", 0}, "no room");
                      if (event == "load") ++loads_;
                      if (event == "vae") widened_.push_back(fields.at("dtype"));
                    }});
  }

  /// Linear maps whose result is added to the residual stream or replaces it: their outputs scale with it.
  static bool in_stream(const std::string& name) {
    const bool residual = name.find(".residual.6.") != std::string::npos || name.find(".proj.") != std::string::npos;
    const bool coder = name.starts_with("decoder.conv1.") || name.starts_with("encoder.conv1.");
    // Resampling and shortcuts are linear in the stream: their weights stay, their biases scale.
    const bool bias = name.ends_with(".bias") &&
                      (name.find(".shortcut.") != std::string::npos || name.find(".resample.") != std::string::npos ||
                       name.find(".time_conv.") != std::string::npos);
    return residual || coder || bias;
  }

  static at::Tensor decode(Networks& models, const at::Tensor& latents) {
    ClipDecoder decoder(models);
    std::vector<at::Tensor> parts;
    for (int64_t t = 0; t < latents.size(1); ++t) parts.push_back(decoder.next(latents.narrow(1, t, 1)));
    return at::cat(parts, 1);
  }
  at::Tensor encode(Networks& models) const {
    return encode_in_range(models, [&](const vae::Vae& vae, int64_t) { return vae::encode(vae.encoder, video_); });
  }

  TemporaryFolder folder_;
  at::Tensor latents_, video_;
  std::vector<std::string> widened_;
  int loads_ = 0;
  bool no_room_ = false;

 private:
  c10::InferenceMode inference_;
};

/// Of [-1, 1], as the contract of the half path is stated: 50 dB.
double decibel(const at::Tensor& got, const at::Tensor& want) {
  return 10 * std::log10(4 / (got - want).square().mean().item<double>());
}

TEST_F(VaeRangeTest, HalfKeepsItsContractAndStaysHalfInRange) {
  Networks half = models(1, 1, at::kHalf), wide = models(1, 1, at::kFloat);
  const at::Tensor frames = decode(half, latents_), want = decode(wide, latents_);
  EXPECT_GE(decibel(frames, want), 50);
  EXPECT_FALSE(frames.equal(want));
  // Three bits more than bf16, of which what the layers make of an error leaves about two.
  Networks coarse = models(1, 1, at::kBFloat16);
  EXPECT_LT(relative_rms(encode(half), encode(wide)) * 3, relative_rms(encode(coarse), encode(wide)));
  EXPECT_TRUE(widened_.empty());
}

TEST_F(VaeRangeTest, ADecoderBeyondHalfIsRunInFloat32FromTheStart) {
  Networks half = models(1e5, 1, at::kHalf), wide = models(1e5, 1, at::kFloat);
  const at::Tensor want = decode(wide, latents_);
  ASSERT_FALSE(vae::decode(half.vae().decoder, latents_).isfinite().all().item<bool>());
  EXPECT_TRUE(decode(half, latents_).equal(want));
  EXPECT_EQ(widened_, std::vector<std::string>{"float32"});
  // The next clip begins in half again: what it gives must not depend on the clips before.
  EXPECT_EQ(half.vae().decoder.build.dtype, at::kHalf);
}

TEST_F(VaeRangeTest, AChunkBeyondHalfRepeatsTheClipAndKeepsWhatWasGivenOut) {
  // The second frame's latent is larger by so much that it alone overflows.
  latents_.narrow(1, 1, 1).mul_(200);
  Networks half = models(100, 1, at::kHalf), wide = models(100, 1, at::kFloat);
  const at::Tensor in_half = vae::decode(half.vae().decoder, latents_), want = decode(wide, latents_);
  ASSERT_TRUE(in_half.narrow(1, 0, 1).isfinite().all().item<bool>());
  ASSERT_FALSE(in_half.narrow(1, 1, 4).isfinite().all().item<bool>());
  const at::Tensor got = decode(half, latents_);
  EXPECT_TRUE(got.narrow(1, 0, 1).equal(in_half.narrow(1, 0, 1)));
  EXPECT_TRUE(got.narrow(1, 1, 8).equal(want.narrow(1, 1, 8)));
}

TEST_F(VaeRangeTest, WithoutRoomForFloat32TheErrorNamesBothNeedsAndTheWayOut) {
  Networks half = models(1e5, 1, at::kHalf);
  no_room_ = true;
  try {
    decode(half, latents_);
    ADD_FAILURE() << "the clip stayed in half's range";
  } catch (const std::runtime_error& error) {
    const std::string line = error.what();
    EXPECT_TRUE(line.starts_with("[decode] ")) << line;
    EXPECT_NE(line.find("at 24x16 where half takes"), std::string::npos) << line;
    EXPECT_NE(line.find("`wan-infer decode LATENTS --device cpu`"), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos);
  }
}

/// A picture of more than one tile in height.
TEST_F(VaeRangeTest, FramesInFloat32AreInTheTilesThatWereSettledForIt) {
  latents_ = at::randn({16, 2, 34, 2});
  const auto frames_of = [&](const VaeTiles& tiles) {
    Networks half = models(1e5, 1, at::kHalf);
    half.take_tiles(tiles);
    const std::pair rows(half.vae_tile_rows(at::kHalf), half.vae_tile_rows(at::kFloat));
    EXPECT_EQ(rows, std::pair(tiles.half, tiles.wide));
    return decode(half, latents_);
  };
  // On the CPU tiles have the bytes of whole frames.
  const at::Tensor want = frames_of({});
  EXPECT_TRUE(frames_of({.half = 0, .wide = 16}).equal(want));
  EXPECT_TRUE(frames_of({.half = 16, .wide = 16}).equal(want));
}

TEST(KeptTiles, AJobKeepsWhatItWasBegunWithAndSaysWhereItCannot) {
  const auto told = [](const std::optional<VaeTiles>& before, const VaeTiles& ruled, at::ScalarType dtype) {
    Notes notes;
    const VaeTiles kept = kept_tiles(before, ruled);
    note_lost_frames(before, kept, dtype, notes);
    return std::pair(kept, notes.list().empty() ? std::string() : notes.list().at(0).text);
  };
  const std::string none;
  const std::string lost =
      "it was to compute on whole frames, which have no room on this card or in --device-memory: it takes tiles of 128 "
      "rows, and the frames differ in their last bits";
  const VaeTiles whole{0, 0}, wide{0, 128}, both{128, 128}, other{32, 64};
  EXPECT_EQ(told({}, both, at::kHalf), std::pair(both, none)) << "nothing came before";
  EXPECT_EQ(told(both, whole, at::kHalf), std::pair(both, none)) << "a larger card keeps the tiles";
  EXPECT_EQ(told(other, both, at::kHalf), std::pair(other, none)) << "of so many rows";
  EXPECT_EQ(told(whole, both, at::kHalf), std::pair(both, lost)) << "a smaller card cannot keep whole frames";
  EXPECT_EQ(told(whole, wide, at::kFloat), std::pair(wide, lost));
  EXPECT_EQ(told(whole, wide, at::kHalf), std::pair(wide, "where a clip leaves the range of float16, " + lost));
  EXPECT_EQ(told(wide, whole, at::kHalf), std::pair(wide, none));
  // Older builds did not say what is now written as 0.
  const VaeTiles unknown{VaeTiles::kUnknown, VaeTiles::kUnknown}, half{128, VaeTiles::kUnknown};
  for (const VaeTiles& before : {unknown, half}) {
    EXPECT_EQ(told(before, both, at::kHalf), std::pair(both, none)) << before.half;
    EXPECT_EQ(told(before, both, at::kFloat), std::pair(both, none)) << before.half;
  }
  EXPECT_EQ(told(unknown, whole, at::kHalf), std::pair(whole, none));
}

TEST_F(VaeRangeTest, TheHalfVaeMakesRoomForTheWideOne) {
  Networks half = models(1e5, 1, at::kHalf);
  half.vae();
  decode(half, latents_);
  loads_ = 0;
  half.vae();
  EXPECT_EQ(loads_, 1) << "it was dropped, so it is loaded for the next clip";
}

TEST_F(VaeRangeTest, AnEncoderBeyondHalfIsRunInFloat32) {
  Networks half = models(1, 1e5, at::kHalf), wide = models(1, 1e5, at::kFloat);
  EXPECT_TRUE(encode(half).equal(encode(wide)));
  EXPECT_EQ(widened_, std::vector<std::string>{"float32"});
}

TEST_F(VaeRangeTest, DamagedLatentsStayDamaged) {
  latents_[0][2][0][0] = NAN;
  Networks half = models(1, 1, at::kHalf);
  const at::Tensor got = decode(half, latents_);
  EXPECT_TRUE(got.narrow(1, 0, 5).isfinite().all().item<bool>());
  EXPECT_TRUE(got.narrow(1, 5, 4).isnan().any().item<bool>());
}

}  // namespace
}  // namespace wan
