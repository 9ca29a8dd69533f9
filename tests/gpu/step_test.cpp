// Steps of the transformer and chunks of the VAE on a GPU: the host never waits inside one, and after the first few no
// memory is asked of the driver.
#include <c10/core/CachingDeviceAllocator.h>

#include <functional>

#include "kernels/step/solver_step.h"
#include "models/vae/vae.h"
#include "models/wan/model.h"
#include "tests/gpu/gpu.h"
#include "tools/bench/drawn.h"

#ifdef WAN_CUDA_KERNELS
#include <c10/cuda/CUDAFunctions.h>

namespace wan {
namespace {

constexpr int64_t kLayers = 2, kStates = 37;

/// Throws at every synchronisation that ATen makes, while it lives.
struct NoWaiting {
  NoWaiting() { c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_ERROR); }
  ~NoWaiting() { c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED); }
};

/// Memory that the allocator holds, and its calls of cudaMalloc so far.
std::pair<int64_t, int64_t> held() {
  const auto stats = c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(0);
  return {stats.reserved_bytes[size_t(c10::CachingAllocator::StatType::AGGREGATE)].current, stats.num_device_alloc};
}

class StepGpu : public kernels::Gpu {
 protected:
  /// Runs `work` until the allocator needs nothing more for it, at most `most` times: which blocks serve which tensor may
  /// settle later than the second time. What grows with each run never settles.
  static void settle(const std::function<void()>& work, int most = 8) {
    for (int run = 0, quiet = 0; run < most && quiet < 2; ++run) {
      const auto before = held();
      work();
      quiet = held() == before ? quiet + 1 : 0;
    }
  }

 private:
  c10::InferenceMode inference_;
};

TEST_F(StepGpu, TheTransformerNeitherWaitsNorGrows) {
  WanConfig config = kWanT2vA14b;
  config.num_layers = kLayers;
  Weights weights(bench::draw_on(at::kCUDA, at::kBFloat16), Place::on(at::kCUDA, at::kBFloat16),
                  bench::transformer_shapes(config));
  const WanModel model(weights.root(), config, at::kBFloat16);
  Tensor x = randn({16, 3, 30, 52});
  const kernels::Rope rope = model.rope(x);
  Context a = model.context(randn({kStates, bench::kTextDim})), b = model.context(randn({kStates, bench::kTextDim}));
  const auto step = [&](double t) {
    const std::vector<Tensor> velocity = model(x, rope, t, {&a, &b});
    x = kernels::solver_step({velocity[0], velocity[1], 5}, x, {}, {.velocity = -0.02}).prediction;
  };
  settle([&] { step(990); });  // keys and values of the text; the choice of the attention
  const auto before = held();
  for (double t = 970; t > 870; t -= 10) {
    const NoWaiting strict;
    EXPECT_NO_THROW(step(t));
  }
  EXPECT_EQ(held(), before);
  EXPECT_TRUE(x.isfinite().all().item<bool>());
}

TEST_F(StepGpu, TheDecoderNeitherWaitsNorGrows) {
  for (vae::Windows windows : {vae::Windows::Shared, vae::Windows::Own}) {
    Weights weights(bench::draw_on(at::kCUDA, at::kFloat), Place::on(at::kCUDA, at::kFloat));
    const vae::Vae vae(weights.root(), vae::Widths(), {.dtype = at::kHalf});
    vae::DecoderStream stream(vae.decoder, {}, windows);
    const Tensor latent = randn({16, 1, 12, 20});
    settle([&] { stream.next(latent); }, 16);
    const auto before = held();
    for (int chunk = 0; chunk < 4; ++chunk) {
      const NoWaiting strict;
      EXPECT_NO_THROW(stream.next(latent));
    }
    EXPECT_EQ(held(), before);
  }
}

TEST_F(StepGpu, AReadingStepWouldBeSeen) {
  const Tensor x = randn({4});
  const NoWaiting strict;
  EXPECT_THROW(x.sum().item<float>(), c10::Error);
}

}  // namespace
}  // namespace wan
#endif
