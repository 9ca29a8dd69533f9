#include "kernels/combine.h"

#include "tests/support.h"

namespace wan::kernels {
namespace {

TEST(Combine, GuidanceAndSumsFollowTheirFormulas) {
  at::manual_seed(1);
  Tensor u = at::randn({2, 3, 4}), c = at::randn({2, 3, 4}), m = at::randn({2, 3, 4});
  EXPECT_TRUE(is_close(guide(u, c, 4), u.to(at::kDouble) * -3 + c * 4.0, 1e-5));
  Tensor want = u.to(at::kDouble) * 0.5 - c.to(at::kDouble) * 2 + m.to(at::kDouble) * 0.25;
  EXPECT_TRUE(is_close(weighted_sum({{0.5, u}, {-2, c}, {0.25, m}}), want, 1e-6));
  EXPECT_TRUE(is_close(weighted_sum({{0.5, u}}), u * 0.5, 0));
}

TEST(Combine, WrongShapesAreNamed) {
  Tensor x = at::zeros({2}), y = at::zeros({3});
  EXPECT_THROW(guide(x, y, 1), c10::Error);
  EXPECT_THROW(weighted_sum({{1, x}, {1, y}}), c10::Error);
  EXPECT_THROW(weighted_sum({}), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
