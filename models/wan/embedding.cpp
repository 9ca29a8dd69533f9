#include "models/wan/embedding.h"

#include <ATen/ATen.h>

#include "kernels/op/check.h"

namespace wan {

Tensor patchify(const Tensor& latent, const Patch& patch) {
  kernels::check_shape("patchify", "latent", latent, {kernels::kAny, kernels::kAny, kernels::kAny, kernels::kAny});
  for (int axis = 0; axis < 3; ++axis)
    TORCH_CHECK(latent.size(axis + 1) % patch[axis] == 0, "[patchify] latents must hold whole patches of ", patch[0],
                " x ", patch[1], " x ", patch[2], ", got ", latent.sizes());
  return latent.unflatten(3, {-1, patch[2]})
      .unflatten(2, {-1, patch[1]})
      .unflatten(1, {-1, patch[0]})    // C T pt H py W px
      .permute({1, 3, 5, 0, 2, 4, 6})  // T H W C pt py px
      .flatten(3)
      .flatten(0, 2);
}

Tensor unpatchify(const Tensor& tokens, const Patch& patch, int64_t frames, int64_t height, int64_t width) {
  return tokens.view({frames / patch[0], height / patch[1], width / patch[2], patch[0], patch[1], patch[2], -1})
      .permute({6, 0, 3, 1, 4, 2, 5})  // C T pt H py W px
      .reshape({-1, frames, height, width});
}

PatchEmbedding::PatchEmbedding(const Scope& at, int64_t channels, int64_t dim, const Patch& patch,
                               at::ScalarType compute)
    : compute(compute),
      patch(patch),
      weight(at.take("weight", {dim, channels, patch[0], patch[1], patch[2]}, Role::Matmul)),
      bias(at.take("bias", {dim}, Role::Matmul)) {}

Tensor PatchEmbedding::operator()(const Tensor& latent) const {
  Tensor tokens = patchify(latent.to(compute), patch);
  return kernels::linear(tokens, weight.tensor().flatten(1), bias.tensor(), Activation::None, weight.context())
      .unsqueeze(0)
      .to(float32_dtype(compute));
}

TimeEmbedding::TimeEmbedding(const Scope& root, const WanConfig& config, at::ScalarType compute)
    : width(config.freq_dim),
      time_embedding(root / "time_embedding", config.freq_dim, config.dim, config.dim, Activation::Silu,
                     float32_dtype(compute), Role::Float32),
      time_projection(root / "time_projection" / 1, config.dim, 6 * config.dim, float32_dtype(compute), Bias::Yes,
                      Role::Float32) {}

TimeRows TimeEmbedding::operator()(at::ArrayRef<double> times) const {
  // In float64: at t = 999 a float32 angle is off by 3e-5, which the output shows.
  Tensor t = at::tensor(times, at::kDouble).unsqueeze(1);
  Tensor angle = t * at::pow(at::Scalar(10000.0), at::arange(width / 2, at::kDouble) / (-0.5 * double(width)));
  // A kilobyte, which the driver takes at once: the host need not wait for the work before it.
  Tensor sinusoid = at::cat({angle.cos(), angle.sin()}, 1)
                        .to(time_projection.weight.device(), time_projection.compute, /*non_blocking=*/true);
  Tensor e = time_embedding(sinusoid);
  return {e, time_projection(at::silu(e)).unflatten(1, {6, -1}).transpose(0, 1).contiguous()};
}

}  // namespace wan
