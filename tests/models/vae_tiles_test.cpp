// The VAE in tiles: the bits of whole frames, at sizes that tiles divide and at others, and what it takes of memory.
#include "models/vae/tiles.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "models/vae/vae.h"
#include "tests/support.h"

namespace wan::vae {
namespace {

constexpr int64_t kRows = 16;  // of a tile: the fewest

Vae drawn(int64_t base, at::ScalarType dtype) {
  at::manual_seed(3);
  const Draw draw = [](at::IntArrayRef shape, Role) {
    int64_t inputs = 1;
    for (size_t axis = 1; axis < shape.size(); ++axis) inputs *= shape[axis];
    return at::randn(shape).div_(std::sqrt(double(inputs)));
  };
  Weights weights(draw);
  return Vae(weights.root(), Widths{.base = base}, {.dtype = dtype});
}

struct Size {
  int64_t rows, columns, chunks;  // of the latent
};

void expect_the_bits_of_whole_frames(const Vae& vae, const Size& size, int64_t tile_rows = kRows) {
  SCOPED_TRACE(std::to_string(size.rows) + " x " + std::to_string(size.columns) + " in " +
               c10::toString(vae.decoder.build.dtype));
  at::manual_seed(5);
  DecoderStream whole(vae.decoder), tiles(vae.decoder, {}, Windows::Shared, tile_rows);
  EncoderStream encoder(vae.encoder), encoder_tiles(vae.encoder, {}, true, tile_rows);
  for (int64_t t = 0; t < size.chunks; ++t) {
    const at::Tensor latent = at::randn({16, 1, size.rows, size.columns});
    const at::Tensor frames = whole.next(latent);
    ASSERT_TRUE(frames.isfinite().all().item<bool>());
    EXPECT_TRUE(tiles.next(latent).equal(frames)) << "decoding, chunk " << t;
    EXPECT_TRUE(encoder_tiles.next(frames).equal(encoder.next(frames))) << "encoding, chunk " << t;
  }
  EXPECT_GT(tiles.host_bytes(), 0);
}

TEST(VaeTiles, HaveTheBitsOfWholeFrames) {
  const int threads = at::get_num_threads();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const Vae vae = drawn(4, dtype);
    expect_the_bits_of_whole_frames(vae, {5, 4, 3});
    if (dtype != at::kFloat) continue;
    // 17 frames; one row, one tile at the lowest level and two, a last tile of one row, and sizes that nothing divides.
    for (const Size& size : {Size{4, 3, 5}, Size{1, 3, 3}, Size{16, 2, 2}, Size{17, 3, 2}})
      expect_the_bits_of_whole_frames(vae, size);
    expect_the_bits_of_whole_frames(vae, {7, 9, 3}, 3 * kRows);
  }
  at::set_num_threads(1);
  expect_the_bits_of_whole_frames(drawn(4, at::kFloat), {9, 5, 3});
  at::set_num_threads(threads);
}

TEST(VaeTiles, HaveTheBitsOfWholeFramesAtTheOfficialWidth) {
  expect_the_bits_of_whole_frames(drawn(96, at::kFloat), {3, 2, 2});
}

TEST(VaeTiles, AreNotEncodedAgainWhereAPictureStands) {
  const Vae vae = drawn(4, at::kFloat);
  EncoderStream whole(vae.encoder), tiles(vae.encoder, {}, true, kRows);
  const at::Tensor image = at::rand({3, 1, 40, 16}) * 2 - 1, grey = at::zeros({3, 4, 40, 16});
  for (int64_t chunk = 0; chunk < 32; ++chunk) {
    const at::Tensor& frames = chunk == 0 ? image : grey;
    EXPECT_TRUE(tiles.next(frames).equal(whole.next(frames))) << chunk;
  }
}

TEST(VaeTiles, HoldNoMoreAfterManyFramesThanAfterTwo) {
  const Vae vae = drawn(4, at::kFloat);
  DecoderStream stream(vae.decoder, {}, Windows::Shared, kRows);
  std::vector<int64_t> held;
  for (int64_t t = 0; t < 4; ++t) {
    stream.next(at::randn({16, 1, 5, 3}));
    held.push_back(stream.cache_bytes() + stream.host_bytes());
  }
  EXPECT_EQ(held[1], held[3]);
}

TEST(VaeTiles, RefuseWindowsOfEachLayersOwn) {
  const Vae vae = drawn(4, at::kFloat);
  EXPECT_THROW(DecoderStream(vae.decoder, {}, Windows::Own, kRows), c10::Error);
  EXPECT_NO_THROW(DecoderStream(vae.decoder, {}, Windows::Own));
}

TEST(VaeTiles, RefuseRowsThatCutAConvolution) {
  const Vae vae = drawn(4, at::kFloat);
  for (const int64_t rows : {-16, 8, 20}) {
    EXPECT_THROW(DecoderStream(vae.decoder, {}, Windows::Shared, rows), c10::Error) << rows;
    EXPECT_THROW(EncoderStream(vae.encoder, {}, true, rows), c10::Error) << rows;
  }
}

}  // namespace
}  // namespace wan::vae
