#include "engine/sampling/noise.h"

#include "tests/support.h"

namespace wan {
namespace {

TEST(Noise, IsTorchsSequenceOfTheSeed) {
  // torch.Generator().manual_seed(0), torch.randn(1), in float32: 1.5409961.
  EXPECT_TRUE(is_close(Noise(0, at::kCPU).draw({1}), at::tensor({1.5409961f}), 1e-6));
  Noise one(42, at::kCPU), two(42, at::kCPU);
  at::Tensor first = one.draw({16, 2, 3, 4});
  at::randn({64});  // the global generator is another one
  EXPECT_TRUE(first.equal(two.draw({16, 2, 3, 4})));
  EXPECT_FALSE(first.equal(one.draw({16, 2, 3, 4})));
  EXPECT_EQ(first.scalar_type(), at::kFloat);
  EXPECT_FALSE(first.equal(Noise(43, at::kCPU).draw({16, 2, 3, 4})));
}

}  // namespace
}  // namespace wan
