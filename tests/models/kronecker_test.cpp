// Products with a Kronecker product that is never made.
#include "models/weights/kronecker.h"

#include <gtest/gtest.h>

#include "tests/support.h"

namespace wan::lora {
namespace {

at::Tensor factor(const std::vector<at::Tensor>& matrices) {
  return matrices.size() == 1 ? matrices[0] : matrices[0].matmul(matrices[1]);
}

at::Tensor values(std::vector<int64_t> shape) {
  return at::randn(shape, at::kDouble);
}

TEST(Kronecker, IsTheProductWithTheWholeMatrix) {
  at::manual_seed(1);
  const std::vector<std::vector<at::Tensor>> firsts = {{values({3, 5})},
                                                       {values({3, 2}), values({2, 5})},
                                                       {values({1, 1})}},
                                             seconds = {
                                                 {values({4, 7})}, {values({4, 1}), values({1, 7})}, {values({1, 1})}};
  for (const auto& first : firsts)
    for (const auto& second : seconds)
      for (const bool scaled : {false, true}) {
        Kronecker matrix{first, second};
        at::Tensor whole = at::kron(factor(first), factor(second));
        EXPECT_EQ(matrix.out(), whole.size(0));
        EXPECT_EQ(matrix.in(), whole.size(1));
        if (scaled) {
          matrix.rows = values({whole.size(0)});
          matrix.columns = values({whole.size(1)});
          whole = matrix.rows.unsqueeze(1) * whole * matrix.columns;
        }
        const at::Tensor x = values({6, whole.size(1)}), all = values({6, whole.size(0) + 2});
        const at::Tensor y = all.narrow(1, 1, whole.size(0)), before = all.clone();
        const at::Tensor want = y + at::linear(x, whole);
        add_product(y, x, matrix, kernels::default_context());
        EXPECT_TRUE(is_close(y, want, 1e-12 * want.abs().max().item<double>())) << "float64 in another order";
        EXPECT_TRUE(all.select(1, 0).equal(before.select(1, 0)) && all.select(1, -1).equal(before.select(1, -1)))
            << "what lies beside its rows";
      }
}

TEST(Kronecker, RowsThatAreTooManyForOneTileAreAllAdded) {
  at::manual_seed(2);
  const Kronecker matrix{{at::randn({64, 16})}, {at::randn({48, 2}), at::randn({2, 4})}};
  const int64_t count = (1 << 22) / (64 * 48) + 100;
  const at::Tensor x = at::randn({count, 64}), y = at::zeros({count, 64 * 48});
  add_product(y, x, matrix, kernels::default_context());
  const at::Tensor want = at::linear(x, at::kron(matrix.first[0], factor(matrix.second)));
  EXPECT_TRUE(is_close(y, want, 1e-5 * want.abs().max().item<double>())) << "float32 in another order";
}

TEST(Kronecker, TheCheapestOrderIsTaken) {
  // W1 [8, 2] makes rows wider, so that it comes last; [2, 8] narrower: first; of rank 1 between the two of W2.
  const auto of = [](std::vector<int64_t> first, std::vector<int64_t> second) { return KroneckerOrder(first, second); };
  EXPECT_EQ(of({2, 8}, {16, 16}).before, 1u);
  EXPECT_EQ(of({2, 8}, {16, 16}).products, 2 * 16 * 16 + 16 * 2 * 8);
  EXPECT_EQ(of({2, 8}, {16, 16}).widest, 8 * 16);
  EXPECT_EQ(of({8, 2}, {16, 16}).before, 0u);
  EXPECT_EQ(of({8, 2}, {16, 16}).products, 16 * 8 * 2 + 2 * 16 * 16);
  EXPECT_EQ(of({8, 8}, {16, 1, 16}).before, 1u);
  EXPECT_EQ(of({8, 8}, {16, 1, 16}).products, 8 * 16 + 8 * 8 + 8 * 16);
}

}  // namespace
}  // namespace wan::lora
