// The second of two cards: its attention is chosen by its own clock and name, and nothing is taken of the first.
#include "kernels/attention/attention.h"
#include "kernels/attention/selector.h"
#include "kernels/op/card_name.h"
#include "models/weights/copier.h"
#include "tests/gpu/gpu.h"

#ifdef WAN_CUDA_KERNELS
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace wan::kernels {
namespace {

class TwoCardsGpu : public Gpu {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (IsSkipped()) return;
    if (c10::cuda::device_count() < 2) GTEST_SKIP() << "needs two cards";
  }
  const at::Device second_{at::kCUDA, 1};
};

TEST_F(TwoCardsGpu, AttentionIsChosenOnTheSecond) {
  const auto context = make_context({}, second_);
  std::map<std::string, AttentionTimes> kept;  // by the card
  context->attention()->set_memory(
      {{}, [&](const std::string& card, const std::string&, const AttentionTimes& times) { kept[card] = times; }});
  const Tensor q = randn({1, 1560, 40, 128}, at::kBFloat16).to(second_);
  const Tensor got = attention(q, q, q, 0.09, {}, *context);
  EXPECT_EQ(got.device(), second_);
  EXPECT_LE(sampled_error(got, q, q, q, 0.09, {}), AttentionSelector::bound(at::kBFloat16));
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_TRUE(kept.begin()->first.starts_with(cuda::card_name(second_) + " sm_")) << kept.begin()->first;
  for (const auto& [name, time] : kept.begin()->second)
    if (time) {
      EXPECT_GT(*time, 0.01) << name << " was not waited for on its own card";
    }
}

TEST_F(TwoCardsGpu, CopiesLandOnTheSecond) {
  // The engine sets its card and its stream for this thread, which runs other tests, too.
  const c10::cuda::CUDAGuard device(c10::cuda::current_device());
  const c10::cuda::CUDAMultiStreamGuard stream(c10::cuda::getCurrentCUDAStream(second_.index()));
  const auto engine = cuda_copy_engine(second_);
  const Tensor from = at::randn({1 << 20}), to = at::empty({1 << 20}, at::TensorOptions(second_));
  engine->begin(nullptr);
  engine->copy(from, to);
  engine->wait_for(engine->end());
  EXPECT_TRUE(to.cpu().equal(from));
}

}  // namespace
}  // namespace wan::kernels
#endif
