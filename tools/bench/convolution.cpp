// The VAE's causal convolutions at its real sizes: layouts and dtypes, and the norm and activation before them.
#include <ATen/ATen.h>
#include <ATen/Context.h>

#include "kernels/convolution/conv3d.h"
#include "kernels/norm/channel_norm.h"
#include "tools/bench/ops.h"

namespace wan::bench {
namespace {

/// Frames of one chunk at full rate, and the two before them.
constexpr int64_t kFrames = 4, kPast = 2;

std::string shape_of(const Site::Level& level) {
  return std::to_string(level.channels) + " channels, " + std::to_string(kFrames) + " frames of " +
         std::to_string(level.width) + "x" + std::to_string(level.height);
}

struct Layout {
  at::ScalarType dtype;
  bool channels_last;
};

/// cuDNN measures its plans for a shape in place of guessing the best, as long as this lives.
struct Tuned {
  Tuned() { at::globalContext().setBenchmarkCuDNN(true); }
  ~Tuned() { at::globalContext().setBenchmarkCuDNN(before); }
  const bool before = at::globalContext().benchmarkCuDNN();
};

Contest convolution(const Site& site, const Site::Level& level) {
  const int64_t c = level.channels;
  const at::TensorOptions floats = at::TensorOptions(site.device).dtype(at::kFloat);
  const Tensor x = at::randn({kFrames + kPast, level.height, level.width, c}, floats);
  const Tensor weight = at::randn({c, c, 3, 3, 3}, floats) / std::sqrt(27.0 * double(c)), bias = at::randn({c}, floats);
  // A corner of the frames in float64; its far edge would need pixels outside of it.
  const int64_t high = std::min<int64_t>(level.height, 16), wide = std::min<int64_t>(level.width, 32);
  const auto corner = [=](const Tensor& y) { return y.narrow(1, 0, high - 1).narrow(2, 0, wide - 1); };
  const Tensor want = corner(kernels::conv3d(x.narrow(1, 0, high).narrow(2, 0, wide).to(at::kDouble).contiguous(),
                                             weight.to(at::kDouble), bias.to(at::kDouble)));
  const double pixels = double(level.height * level.width);
  Contest contest{.flops = 2.0 * 27 * double(c * c) * double(kFrames) * pixels,
                  .bytes = double(2 * kFrames + kPast) * pixels * double(c) * 2,
                  .ceiling = "fp16",
                  .error = [=](const Tensor& y) { return relative_l2(corner(y), want); },
                  .bound = 4e-3,
                  .contestants = {}};
  for (at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kFloat}) {
    const std::string type = dtype == at::kHalf ? "fp16" : dtype == at::kBFloat16 ? "bf16" : "fp32 (TF32 by default)";
    const Tensor clip = x.to(dtype), kernel = weight.to(dtype), offset = bias.to(dtype);
    // As the networks hold them (models/vae/layers.cpp): with other strides ATen takes another path for the clip, too.
    const Tensor taps = kernel.contiguous(at::MemoryFormat::ChannelsLast3d);
    const std::string layout = taps.suggest_memory_format() == at::MemoryFormat::ChannelsLast3d
                                   ? "weights channels last"
                                   : "weights as planes";
    const auto convolve = [=](size_t) { return kernels::conv3d(clip, taps, offset, 1, *site.context); };
    contest.contestants.push_back({"channels last " + type, true, convolve, layout});
    if (site.is_cuda())
      contest.contestants.push_back({"channels last " + type + ", tuned", false,
                                     [=](size_t set) {
                                       const Tuned tuned;
                                       return convolve(set);
                                     },
                                     "cuDNN measures its plans: " + layout});
    const Tensor planes = clip.permute({3, 0, 1, 2}).unsqueeze(0).contiguous();
    contest.contestants.push_back({"planes " + type, false,
                                   [=](size_t) {
                                     return at::conv3d(planes, kernel, offset, 1, at::IntArrayRef{0, 1, 1});
                                   },
                                   "",
                                   [](const Tensor& y) {
                                     return y.squeeze(0).permute({1, 2, 3, 0});
                                   }});
  }
  return contest;
}

Contest norm_silu(const Site& site, const Site::Level& level) {
  const Tensor x = at::randn({kFrames, level.height, level.width, level.channels}, site.options().dtype(at::kHalf));
  const Tensor gamma = at::randn({level.channels}, at::TensorOptions(site.device).dtype(at::kFloat)) * 0.1 + 1;
  const Tensor out = at::empty_like(x), rows = sampled_rows(level.height, site.device);
  const auto part = [=](const Tensor& y) {
    return y.index_select(1, rows).narrow(2, 0, std::min<int64_t>(level.width, 32));
  };
  const Tensor wide = part(x).to(at::kDouble);
  const Tensor want = at::silu(wide / wide.norm(2, {-1}, true).clamp_min(1e-12) * std::sqrt(double(level.channels)) *
                               gamma.to(at::kDouble));
  return {.flops = 0,
          .bytes = 4.0 * double(x.numel()),
          .ceiling = "copy",
          .error = [=](const Tensor& y) { return relative_l2(part(y), want); },
          .bound = 1e-3,
          .contestants = {{"fused", true,
                           [=](size_t) {
                             kernels::channel_norm_silu(x, gamma, true, out, *site.context);
                             return out;
                           }},
                          {"ATen", false, [=](size_t) {
                             kernels::reference::channel_norm_silu(x, gamma, true, out);
                             return out;
                           }}}};
}

}  // namespace

std::vector<Plan> convolution_plans(const Site& site) {
  std::vector<Plan> plans;
  for (const Site::Level& level : site.levels) {
    plans.push_back({"ops", "VAE convolution", shape_of(level), [=] { return convolution(site, level); }});
    plans.push_back({"ops", "VAE norm + SiLU", shape_of(level), [=] { return norm_silu(site, level); }});
  }
  return plans;
}

}  // namespace wan::bench
