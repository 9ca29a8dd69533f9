#include "kernels/attention/attention_cuda.h"

#include "kernels/attention/selector.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/cuda/CUDAEvent.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <limits>

#include "kernels/attention/int8_attention_cuda.h"
#include "kernels/attention/launch.h"
#include "kernels/attention/skip_arguments.h"
#include "kernels/op/binding.h"
#include "kernels/op/card_name.h"

namespace wan::kernels::cuda {
namespace {

/// True where the kernel reads x [B, L, H, 128] as it lies.
bool takes_strides(const Tensor& x) {
  auto whole = [](int64_t stride) { return stride % 8 == 0; };
  return x.stride(3) == 1 && whole(x.stride(0)) && whole(x.stride(1)) && whole(x.stride(2)) && is_aligned(x);
}

AttentionArguments::Strided strided(const Tensor& x) {
  return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

using Bias = AttentionCase::Bias;
constexpr double kLog2E = 1.4426950408889634;

/// Our kernel with these instructions as a back end.
AttentionBackend own(std::string name, Instructions instructions, std::function<bool(const AttentionCase&)> takes) {
  return {std::move(name), std::move(takes),
          [instructions](const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
            auto out = attention(q, k, v, scale, bias, instructions);
            TORCH_CHECK(out, "[attention] our kernel does not take ", q.sizes(), " of ", q.scalar_type());
            return *out;
          }};
}

/// ATen's attentions take [B, H, L, D] views; what they return is brought to [B, L, H, D] here, copied if it must be,
/// so that a copy counts in the measurement.
AttentionBackend library(std::string name, bool half_only, int64_t widest,
                         std::function<Tensor(Tensor, Tensor, Tensor, double)> run) {
  return {std::move(name),
          [half_only, widest](const AttentionCase& c) {
            return c.bias == Bias::None && c.width % 8 == 0 && c.width <= widest && takes_dtype(c.dtype) &&
                   (is_half(c.dtype) || !half_only);
          },
          [run](const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor&) {
            return run(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale).transpose(1, 2).contiguous();
          }};
}

/// Those of this GPU, in the order of kAttentionBackends.
std::vector<AttentionBackend> backends(at::Device device, Wgmma wgmma) {
  const bool launches_wgmma = has_wgmma(device) && wgmma != Wgmma::Off;
  auto cudnn = [](Tensor q, Tensor k, Tensor v, double scale) {
    return std::get<0>(at::_scaled_dot_product_cudnn_attention(q, k, v, {}, false, 0.0, false, false, scale));
  };
  auto flash = [](Tensor q, Tensor k, Tensor v, double scale) {
    return std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v, 0.0, false, false, scale));
  };
  auto efficient = [](Tensor q, Tensor k, Tensor v, double scale) {
    for (const Tensor& x : {q, k, v})
      TORCH_CHECK(spans_int32(x),
                  "[attention] efficient must have tensors of less than 2^31 elements from end to end, got ", x.sizes(),
                  " with strides ", x.strides());
    return std::get<0>(at::_scaled_dot_product_efficient_attention(q, k, v, {}, false, 0.0, false, scale));
  };
  // The VAE's single head is 384 wide: its 14,400 pixels at 720p would cost 0.1 s a clip in the reference's float32.
  return {library("cudnn", true, 256, cudnn), library("flash", true, 256, flash),
          library("efficient", false, 1024, efficient),
          own("mma", Instructions::Mma,
              [](const AttentionCase& c) { return takes_head(c.width, c.dtype) && c.bias != Bias::Full; }),
          own("wgmma", Instructions::Wgmma, [launches_wgmma](const AttentionCase& c) {
            return launches_wgmma && takes_head(c.width, c.dtype) && c.bias == Bias::None;
          })};
}

/// 8+8 attention with these sums. That with float32 is what runs without a choice: its first use is compared elsewhere
/// (int8_attention.cpp), so that it passes here whatever the heads are.
AttentionBackend sums_backend(Sums sums) {
  constexpr double kHalfBound = 3.5e-2, kHalfHandicap = 1.05;  // where a row is one value; what a switch must gain
  const bool half = sums == Sums::Half;
  return {half ? kHalfSums : kFloatSums,
          [](const AttentionCase& c) { return takes_head(c.width, c.dtype) && c.bias == Bias::None; },
          [sums](const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor&) {
            auto out = attention_int8(quantise_queries(q, scale * kLog2E),
                                      quantise_keys(k, k.mean(1, false, at::kFloat)), v, {Values::Float8, sums});
            TORCH_CHECK(out, "[attention_int8] our kernel does not take ", q.sizes(), " of ", q.scalar_type());
            return *out;
          },
          half ? kHalfBound : std::numeric_limits<double>::infinity(), half ? kHalfHandicap : 1};
}

/// A choice holds for all of this together.
std::string card(at::Device device) {
  int driver = 0;
  C10_CUDA_CHECK(cudaDriverGetVersion(&driver));
  const at::CUDAHooksInterface& hooks = at::detail::getCUDAHooks();
  return text_of({card_name(device), architecture(device), TORCH_VERSION,
                  hooks.hasCuDNN() ? int64_t(hooks.versionRuntimeCuDNN()) : 0, driver});
}

/// The median of three launches behind one that warms up.
double milliseconds(at::Device device, const std::function<void()>& run) {
  const c10::cuda::CUDAGuard guard(device);
  run();
  std::vector<double> times;
  for (int i = 0; i < 3; ++i) {
    c10::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
    begin.record();
    run();
    end.record();
    end.synchronize();
    times.push_back(begin.elapsed_time(end));
  }
  std::sort(times.begin(), times.end());
  return times[1];
}

}  // namespace

std::optional<Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias,
                                Instructions instructions, const Context& context, SkipSoftmax* skip) {
  if (!use_fused(q, context) || q.numel() == 0 || k.size(1) == 0 || !takes_head(q.size(3), q.scalar_type()) ||
      !(scale > 0) || (bias.defined() && bias.dim() != 1) || std::max(q.size(1), k.size(1)) > INT32_MAX / 2 ||
      q.size(2) > UINT16_MAX || q.size(0) > UINT16_MAX) {
    return std::nullopt;
  }
  const bool boxes = instructions == Instructions::Wgmma;
  if (boxes && (bias.defined() || !has_wgmma(q.device()))) return std::nullopt;
  if (skip && bias.defined()) return std::nullopt;
  auto readable = [&](const Tensor& x) {
    const Tensor same = x.to(q.scalar_type());
    return takes_strides(same) && (!boxes || is_nested(same)) ? same : same.contiguous();
  };
  const Tensor query = readable(q), key = readable(k), value = readable(v), logits = as_floats(bias);
  Tensor out = at::empty(q.sizes(), q.options());
  AttentionArguments a{};
  a.q = strided(query);
  a.k = strided(key);
  a.v = strided(value);
  a.bias = floats(logits);
  a.out = out.data_ptr();
  a.batch = int(q.size(0));
  a.heads = int(q.size(2));
  a.queries = int(q.size(1));
  a.keys = int(k.size(1));
  a.scale = float(scale);
  a.skip = skip_arguments(skip, instructions, a);
  auto* launch = boxes ? launch_attention_sm90 : launch_attention;
  launch_on(q, [&](cudaStream_t stream) { return launch(a, element_of(q.scalar_type()), stream); });
  return out;
}

std::unique_ptr<AttentionSelector> attention_selector(at::Device device, const Options& options) {
  std::vector<std::string> off = options.attention_off;
  std::erase(off, kHalfSums);
  if (options.wgmma != Wgmma::On) off.push_back("wgmma");
  const auto timer = [device](const std::function<void()>& run) { return milliseconds(device, run); };
  return std::make_unique<AttentionSelector>(backends(device, options.wgmma), card(device), timer, off);
}

std::unique_ptr<AttentionSelector> sums_selector(at::Device device, const Options& options) {
  if (!has_kernels(device) || !has_float8_mma(device)) return nullptr;
  std::vector<std::string> off;
  if (std::count(options.attention_off.begin(), options.attention_off.end(), kHalfSums) > 0) off = {kHalfSums};
  const auto timer = [device](const std::function<void()>& run) { return milliseconds(device, run); };
  return std::make_unique<AttentionSelector>(std::vector{sums_backend(Sums::Float), sums_backend(Sums::Half)},
                                             card(device) + ", 8+8", timer, off);
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels: nothing is taken, nothing is chosen

namespace wan::kernels::cuda {

std::optional<Tensor> attention(const Tensor&, const Tensor&, const Tensor&, double, const Tensor&, Instructions,
                                const Context&, SkipSoftmax*) {
  return std::nullopt;
}

std::unique_ptr<AttentionSelector> attention_selector(at::Device, const Options&) {
  return nullptr;
}

std::unique_ptr<AttentionSelector> sums_selector(at::Device, const Options&) {
  return nullptr;
}

}  // namespace wan::kernels::cuda

#endif
