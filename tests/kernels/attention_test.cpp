// The CPU's fast path and the reference against softmax written out in float64.
#include "kernels/attention/attention.h"

#include "tests/support.h"

namespace wan::kernels {
namespace {

Tensor written_out(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
  Tensor logits = at::einsum("bihd,bjhd->bhij", {q.to(at::kDouble), k.to(at::kDouble)}) * scale;
  if (bias.defined()) logits = logits + bias.to(at::kDouble);
  return at::einsum("bhij,bjhd->bihd", {logits.softmax(-1), v.to(at::kDouble)});
}

Tensor with_defaults(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
  return attention(q, k, v, scale, bias);
}

struct Shape {
  int64_t batch, queries, keys, heads, width;
};

TEST(Attention, AgreesWithTheFormula) {
  at::manual_seed(11);
  for (const Shape& s : {Shape{1, 1, 1, 1, 8}, Shape{2, 33, 17, 3, 64}, Shape{1, 300, 515, 2, 128}}) {
    Tensor q = at::randn({s.batch, s.queries, s.heads, s.width}) * 2,
           k = at::randn({s.batch, s.keys, s.heads, s.width});
    Tensor v = at::randn({s.batch, s.keys, s.heads, s.width});
    double scale = 1 / std::sqrt(double(s.width));
    Tensor closed = at::zeros({s.keys});
    closed.narrow(0, s.keys / 2 + 1, s.keys - s.keys / 2 - 1).fill_(std::numeric_limits<float>::lowest());
    for (const Tensor& bias : {Tensor(), at::randn({s.keys}), closed, at::randn({s.heads, s.queries, s.keys})}) {
      Tensor want = written_out(q, k, v, scale, bias);
      for (auto* op : {&with_defaults, &reference::attention}) {
        EXPECT_TRUE(is_close(op(q, k, v, scale, bias), want, 1e-5));  // float32, and ATen's exp of a few ulp
        Tensor half = op(q.to(at::kBFloat16), k.to(at::kBFloat16), v.to(at::kBFloat16), scale, bias);
        EXPECT_EQ(half.scalar_type(), at::kBFloat16);
        EXPECT_LT(relative_rms(half, want), 1.5e-2);  // operands of 8 bits
        Tensor wide = op(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), scale, bias);
        EXPECT_TRUE(is_close(wide, want, 1e-12));
      }
    }
  }
}

TEST(Attention, ReadsStridedViewsAndWorksInBlocks) {
  at::manual_seed(12);
  // 70,000 keys and 8 heads: the reference takes 119 queries at a time.
  Tensor packed = at::randn({1, 70000, 8, 3 * 4});
  Tensor q = packed.narrow(3, 0, 4).narrow(1, 0, 250), k = packed.narrow(3, 4, 4), v = packed.narrow(3, 8, 4);
  Tensor want = attention(q, k, v, 0.5);
  EXPECT_TRUE(is_close(reference::attention(q, k, v, 0.5), want, 1e-6));
  EXPECT_TRUE(is_close(reference::attention(q.narrow(1, 200, 1), k, v, 0.5), want.narrow(1, 200, 1), 1e-6));
}

TEST(Attention, WrongShapesAreNamed) {
  Tensor q = at::zeros({1, 4, 2, 8}), k = at::zeros({1, 6, 2, 8});
  EXPECT_THROW(attention(q, k, at::zeros({1, 5, 2, 8}), 1), c10::Error);
  EXPECT_THROW(attention(q, at::zeros({1, 6, 3, 8}), k, 1), c10::Error);
  EXPECT_THROW(attention(q, k, k, 1, at::zeros({5})), c10::Error);
  EXPECT_THROW(attention(q, k, k, 1, at::zeros({2, 6, 4})), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
