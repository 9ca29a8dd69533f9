// The fused q/k norm and rotation on a GPU against the reference in float64.
#include "kernels/rope/rope.h"

#include "kernels/rope/rope_cuda.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {
namespace {

class RopeGpu : public Gpu {};

TEST_F(RopeGpu, NormsAndTurnsSlicesOfOneMergedProduct) {
  for (at::ScalarType dtype : kDtypes) {
    for (auto [frames, rows, columns] : {std::array<int64_t, 3>{1, 1, 1}, {1, 3, 5}, {21, 1, 7}, {2, 30, 52}}) {
      SCOPED_TRACE(testing::Message() << dtype << ", grid " << frames << " " << rows << " " << columns);
      const int64_t length = frames * rows * columns;
      Tensor positions = grid_positions(frames, rows, columns);
      positions.select(1, 0) -= 3;  // as motion frames have
      Rope rope = make_rope(positions, 128, at::kCUDA);
      Tensor qkv = randn({2, length, 3 * 5120}, dtype), weights[] = {randn({5120}), randn({5120})};
      Tensor q = qkv.narrow(2, 0, 5120), k = qkv.narrow(2, 5120, 5120);
      // The operation would fall back, and ATen be compared with ATen.
      const auto got = cuda::qk_norm_rope(q, k, weights[0], weights[1], rope, 40, 1e-6);
      ASSERT_TRUE(got);
      auto want = reference::qk_norm_rope(wide(q), wide(k), weights[0], weights[1], rope, 40, 1e-6);
      EXPECT_LT(relative_rms(got->first, want.first), rounding(dtype));
      EXPECT_LT(relative_rms(got->second, want.second), rounding(dtype));
      const auto turned = cuda::apply_rope(got->first, rope);
      ASSERT_TRUE(turned);
      EXPECT_LT(relative_rms(*turned, reference::apply_rope(wide(got->first), rope)), rounding(dtype));
      EXPECT_TRUE(qk_norm_rope(q, k, weights[0], weights[1], rope, 40, 1e-6).second.equal(got->second));
      EXPECT_TRUE(apply_rope(got->first, rope).equal(*turned));
    }
  }
}

}  // namespace
}  // namespace wan::kernels
