// The library's convolutions in 16 bits against the reference, at sizes of the VAE, and the reference itself.
#include "kernels/convolution/conv3d.h"
#include "kernels/convolution/convolution_check.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {
namespace {

class ConvolutionGpu : public Gpu {
 protected:
  /// Weights that keep the size of their input, in the layout of the networks (models/vae/layers.cpp).
  static Tensor taps(at::IntArrayRef shape, at::ScalarType dtype) {
    const int64_t fan_in = c10::multiply_integers(shape.begin() + 1, shape.end());
    const Tensor drawn = (at::randn(shape) / std::sqrt(double(fan_in))).to(dtype).to(at::kCUDA);
    return drawn.contiguous(shape.size() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast);
  }
};

TEST_F(ConvolutionGpu, TheReferenceIsTheProcessors) {
  const Tensor x = randn({5, 9, 11, 24}), bias = randn({16}), taps = randn({16, 24, 3, 3, 3});
  for (int64_t stride : {1, 2}) {
    const Tensor want = reference::conv3d(x.cpu().to(at::kDouble), taps.cpu(), bias.cpu(), stride);
    EXPECT_LT(relative_rms(reference::conv3d(x, taps, bias, stride).cpu(), want), 2e-6);  // float32, not TF32
  }
  const Tensor down = randn({16, 24, 3, 3}), folded = fold_nearest2x(down);
  EXPECT_LT(relative_rms(reference::conv2d_down(x, down, bias).cpu(),
                         reference::conv2d_down(x.cpu().to(at::kDouble), down.cpu(), bias.cpu())),
            2e-6);
  EXPECT_LT(relative_rms(reference::conv2d_up(x, folded, bias).cpu(),
                         reference::conv2d_up(x.cpu().to(at::kDouble), folded.cpu(), bias.cpu())),
            2e-6);
}

TEST_F(ConvolutionGpu, TheLibraryAgreesAtTheSizesOfTheVae) {
  for (at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    const double rounded = dtype == at::kHalf ? 1e-3 : 4e-3;
    for (const auto& [channels, height, width] :
         {std::array<int64_t, 3>{96, 720, 1280}, {192, 360, 640}, {384, 90, 160}}) {
      SCOPED_TRACE(testing::Message() << dtype << ", " << channels << " channels");
      const Tensor x = at::randn({6, height, width, channels}, at::TensorOptions(at::kCUDA).dtype(dtype)),
                   bias = randn({channels}, dtype);
      const Tensor whole = taps({channels, channels, 3, 3, 3}, dtype),
                   time = taps({channels, channels, 3, 1, 1}, dtype), frame = taps({channels, channels, 3, 3}, dtype);
      Tensor y = conv3d(x, whole, bias);
      EXPECT_LT(tile_error(described_conv3d(whole, bias, 1), x, y).value(), rounded);
      y[-1][-1].zero_();
      EXPECT_GT(tile_error(described_conv3d(whole, bias, 1), x, y).value(), kConvolutionBound);
      EXPECT_LT(tile_error(described_conv3d(time, bias, 2), x, conv3d(x, time, bias, 2)).value(), rounded);
      EXPECT_LT(tile_error(described_down(frame, bias), x, conv2d_down(x, frame, bias)).value(), rounded);
      if (channels > 96) {
        const Tensor folded = fold_nearest2x(frame);
        EXPECT_LT(tile_error(described_up(folded, bias), x, conv2d_up(x, folded, bias)).value(), rounded);
      }
    }
  }
}

}  // namespace
}  // namespace wan::kernels
