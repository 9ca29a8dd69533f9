#include "models/lpips/model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "kernels/convolution/convolution_cpu.h"
#include "kernels/op/pieces.h"

namespace wan::lpips {
namespace {

using at::Tensor;

// Of the release's ScalingLayer, which takes RGB in [-1, 1]: ImageNet's means and deviations of RGB in [0, 1], moved there.
constexpr float kShift[] = {-.030F, -.088F, -.188F}, kScale[] = {.458F, .448F, .450F};
constexpr float kEps = 1e-10F;        // beside the length of a pixel's features
constexpr int64_t kRowsOfAPiece = 8;  // of features that are compared at once

Making as_float(std::function<Tensor(const Tensor&)> arrange) {
  return {.dtype = at::kFloat, .prepare = [arrange = std::move(arrange)](const std::vector<Tensor>& parts) {
            return arrange(parts[0].to(at::kFloat));
          }};
}

/// Two pictures uint8 [H, W, 3] -> float32 [2, H, W, 3], as the first layer takes them.
Tensor scaled(const Tensor& first, const Tensor& second) {
  const Tensor both = at::stack({first, second}).to(at::kFloat).div_(127.5F).sub_(1);
  const auto constant = [&](const float(&values)[3]) { return at::tensor(at::ArrayRef<float>(values, 3)); };
  return both.sub_(constant(kShift)).div_(constant(kScale));
}

/// x [2, H, W, C] contiguous -> the same of half the size.
Tensor pooled(const Tensor& x, int64_t side) {
  return at::max_pool2d(x.permute({0, 3, 1, 2}), side, 2).permute({0, 2, 3, 1}).contiguous();
}

/// Features [2, H, W, C] of both pictures -> the mean over the pixels of what `head` [C] makes of the squared differences
/// of their directions.
double difference(const Tensor& features, const Tensor& head) {
  const int64_t height = features.size(1);
  std::vector<double> sums(size_t((height + kRowsOfAPiece - 1) / kRowsOfAPiece));
  kernels::in_pieces(int64_t(sums.size()), [&](int64_t piece) {
    const int64_t row = piece * kRowsOfAPiece;
    const Tensor x = features.narrow(1, row, std::min(kRowsOfAPiece, height - row));
    const Tensor directions = x / x.square().sum(3, /*keepdim=*/true).sqrt_().add_(kEps);
    const Tensor squares = (directions[0] - directions[1]).square_();
    sums[size_t(piece)] = squares.mul_(head).sum(at::kDouble).item<double>();
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0) / double(height * features.size(2));
}

}  // namespace

Model::Model(Weights& features, const Contents& of_features, Weights& heads, const Contents& of_heads)
    : backbone_(of_features.backbone) {
  int64_t tap = 0;
  for (const Layer& layer : layers(backbone_)) {
    const Scope at = features.root() / of_features.path(layer, tap);
    const auto channels_last = [](const Tensor& taps) { return taps.contiguous(at::MemoryFormat::ChannelsLast); };
    convolutions_.push_back(
        {layer,
         at.take("weight", {layer.out, layer.in, layer.kernel, layer.kernel}, Role::Float32, as_float(channels_last)),
         at.take("bias", {layer.out}, Role::Float32, as_float([](const Tensor& bias) { return bias; }))});
    if (!layer.tap) continue;
    const auto flat = [](const Tensor& head) { return head.flatten(); };
    heads_.push_back(
        (heads.root() / of_heads.head(tap)).take("weight", {1, layer.out, 1, 1}, Role::Float32, as_float(flat)));
    ++tap;
  }
  for (const char* other : {"lin", "scaling_layer."}) heads.ignore(other), features.ignore(other);
  features.ignore("classifier.");
}

std::vector<double> Model::taps(const Tensor& first, const Tensor& second) const {
  const int64_t least = least_side(backbone_);
  TORCH_CHECK(first.dim() == 3 && first.size(2) == 3 && first.scalar_type() == at::kByte && first.is_cpu() &&
                  first.size(0) >= least && first.size(1) >= least && second.sizes() == first.sizes() &&
                  second.scalar_type() == at::kByte && second.is_cpu(),
              "[lpips] two pictures must be uint8 [H, W, 3] of one size, H and W at least ", least, ", got ",
              first.sizes(), " and ", second.sizes());
  std::vector<double> taps;
  Tensor x = scaled(first, second);
  for (const Convolution& convolution : convolutions_) {
    const Layer& layer = convolution.layer;
    if (layer.pool > 0) x = pooled(x, layer.pool);
    const int64_t zeros = layer.padding;
    x = kernels::convolve_on_cpu(x, convolution.weight.tensor().unsqueeze(2), convolution.bias.tensor(),
                                 {zeros, zeros, zeros, zeros, layer.stride});
    x.relu_();
    if (layer.tap) taps.push_back(difference(x, heads_[taps.size()].tensor()));
  }
  return taps;
}

double Model::distance(const Tensor& first, const Tensor& second) const {
  const std::vector<double> all = taps(first, second);
  return std::accumulate(all.begin(), all.end(), 0.0);
}

}  // namespace wan::lpips
