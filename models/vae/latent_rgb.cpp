#include "models/vae/latent_rgb.h"

#include <ATen/ATen.h>

#include <cmath>

#include "models/vae/frames.h"
#include "models/vae/latent.h"

namespace wan::vae {
namespace {

using at::Tensor;

/// Latent pixels and their colours as rows, float64 on the CPU.
struct Rows {
  Tensor latents;  // [n, 16]
  Tensor colours;  // [n, 3]
};

Rows rows_of(const DecodedLatent& decoded) {
  const auto& [latent, frame] = decoded;
  TORCH_CHECK(latent.dim() == 4 && latent.size(0) == kLatentChannels && latent.size(1) == 1,
              "[latent_rgb] a latent must be [16, 1, h, w], got ", latent.sizes());
  const int64_t height = latent.size(2), width = latent.size(3);
  TORCH_CHECK(frame.sizes() == at::IntArrayRef({3, 1, height * kPixels, width * kPixels}),
              "[latent_rgb] the frame of a latent ", latent.sizes(), " must be ",
              at::IntArrayRef({3, 1, height * kPixels, width * kPixels}), ", got ", frame.sizes());
  const Tensor pixels = frame.to(at::kCPU, at::kDouble).clamp(-1, 1).reshape({3, height, kPixels, width, kPixels});
  return {latent.to(at::kCPU, at::kDouble).reshape({kLatentChannels, -1}).t(),
          pixels.mean(at::IntArrayRef{2, 4}).reshape({3, -1}).t()};
}

/// The solution of a x = b by Cholesky's decomposition, for `a` [n, n] that is symmetric and positive definite; both are
/// overwritten. Without LAPACK, which not every build of libtorch has.
Tensor solved(Tensor a, Tensor b) {
  auto matrix = a.accessor<double, 2>();
  auto right = b.accessor<double, 2>();
  const int64_t n = a.size(0), columns = b.size(1);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double sum = matrix[i][j];
      for (int64_t k = 0; k < j; ++k) sum -= matrix[i][k] * matrix[j][k];
      matrix[i][j] = i == j ? std::sqrt(sum) : sum / matrix[j][j];
    }
  for (int64_t column = 0; column < columns; ++column) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < i; ++k) right[i][column] -= matrix[i][k] * right[k][column];
      right[i][column] /= matrix[i][i];
    }
    for (int64_t i = n - 1; i >= 0; --i) {
      for (int64_t k = i + 1; k < n; ++k) right[i][column] -= matrix[k][i] * right[k][column];
      right[i][column] /= matrix[i][i];
    }
  }
  return b;
}

}  // namespace

Tensor LatentRgb::operator()(const Tensor& latent) const {
  TORCH_CHECK(latent.dim() == 3 && latent.size(0) == kLatentChannels, "[latent_rgb] a latent must be [16, h, w], got ",
              latent.sizes());
  const Tensor map = factors.to(at::kFloat), values = latent.to(at::kCPU, at::kFloat).reshape({kLatentChannels, -1});
  const Tensor colours = at::mm(map.narrow(0, 0, kLatentChannels).t(), values);
  return colours.add_(map[kLatentChannels].unsqueeze(1)).view({3, latent.size(1), latent.size(2)});
}

LatentRgb fit_latent_rgb(const std::vector<DecodedLatent>& decoded) {
  TORCH_CHECK(!decoded.empty(), "[latent_rgb] a fit needs at least one decoded latent");
  std::vector<Tensor> all_latents, all_colours;
  for (const DecodedLatent& one : decoded) {
    const Rows rows = rows_of(one);
    all_latents.push_back(rows.latents);
    all_colours.push_back(rows.colours);
  }
  const Tensor latents = at::cat(all_latents), colours = at::cat(all_colours);
  const Tensor mean = latents.mean(0), middle = colours.mean(0), centred = latents - mean;
  // Far below what any channel of a VAE weighs; it keeps the solution finite where channels say the same or nothing.
  constexpr double kLeast = 1e-9;
  Tensor squares = at::mm(centred.t(), centred);
  const double weight = squares.trace().item<double>() / double(kLatentChannels);
  squares.diagonal().add_(weight > 0 ? weight * kLeast : 1);
  const Tensor map = solved(squares, at::mm(centred.t(), colours - middle).contiguous());
  return {at::cat({map, (middle - at::mv(map.t(), mean)).unsqueeze(0)})};
}

Tensor preview_picture(const LatentRgb& map, const Tensor& latents) {
  TORCH_CHECK(latents.dim() == 4 && latents.size(1) > 0, "[latent_rgb] latents must be [16, T, h, w], got ",
              latents.sizes());
  const Tensor colours = map(latents.select(1, latents.size(1) / 2));
  const Tensor larger = at::upsample_bilinear2d(colours.unsqueeze(0), {2 * colours.size(1), 2 * colours.size(2)},
                                                /*align_corners=*/false);
  return to_uint8(larger.transpose(0, 1)).squeeze(0);
}

}  // namespace wan::vae
