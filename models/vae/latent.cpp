#include "models/vae/latent.h"

#include <ATen/ATen.h>

#include <array>

namespace wan::vae {
namespace {

constexpr std::array<double, kLatentChannels> kMean = {-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,
                                                       -0.1517, 1.5508,  0.4134,  -0.0715, 0.5517,  -0.3632,
                                                       -0.1922, -0.9497, 0.2503,  -0.2921};
constexpr std::array<double, kLatentChannels> kStd = {2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                                                      3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160};

at::Tensor constants(const std::array<double, kLatentChannels>& values, const at::Tensor& like) {
  return at::tensor(at::ArrayRef<double>(values), at::kDouble).to(like.device(), like.scalar_type());
}

}  // namespace

at::Tensor computed(const at::Tensor& x) {
  return x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

at::Tensor normalise(const at::Tensor& mu) {
  const at::Tensor values = computed(mu);
  return (values - constants(kMean, values)) / constants(kStd, values);
}

at::Tensor denormalise(const at::Tensor& latent) {
  const at::Tensor values = computed(latent);
  return values * constants(kStd, values) + constants(kMean, values);
}

}  // namespace wan::vae
