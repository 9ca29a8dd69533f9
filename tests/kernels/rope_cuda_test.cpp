// The kernel of q/k norm and rotation, executed through the shim, against the reference in float64.
#include "kernels/rope/rope.cuh"
#include "kernels/rope/rope.h"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

struct Shape {
  int64_t batch, heads, width;
  std::array<int64_t, 3> grid;
};

// A14B's heads; odd grids; a head of 6 (one column for each axis) and of 12.
const Shape kShapes[] = {{1, 40, 128, {2, 1, 3}}, {2, 3, 128, {1, 3, 5}}, {1, 1, 6, {3, 2, 1}},
                         {2, 5, 12, {1, 1, 7}},   {1, 7, 10, {2, 2, 2}},  {1, 128, 128, {1, 1, 1}}};

Rope rope_of(const Shape& shape) {
  Tensor positions = grid_positions(shape.grid[0], shape.grid[1], shape.grid[2]);
  positions.select(1, 0) -= 2;  // negative times too
  return make_rope(positions, shape.width, at::kCPU);
}

RopeArguments arguments_of(const Shape& shape, const Rope& rope) {
  RopeArguments a{};
  a.cos = floats(rope.cos);
  a.sin = floats(rope.sin);
  a.tokens = int(rope.tokens());
  a.rows = shape.batch * a.tokens;
  a.channels = int(shape.heads * shape.width);
  a.head_dim = int(shape.width);
  a.eps = 1e-6f;
  return a;
}

TEST(RopeKernel, NormsAndTurnsSlicesOfOneMergedProduct) {
  at::manual_seed(1);
  for (const Storage& s : kStorages) {
    for (const Shape& shape : kShapes) {
      SCOPED_TRACE(testing::Message() << s.dtype << " heads " << shape.heads << " of " << shape.width);
      Rope rope = rope_of(shape);
      RopeArguments a = arguments_of(shape, rope);
      Tensor qkv = at::randn({shape.batch, a.tokens, 3 * a.channels}).to(s.dtype);
      Tensor weights[] = {at::randn({a.channels}), at::randn({a.channels})};
      Tensor out[] = {poisoned({shape.batch, a.tokens, shape.heads, shape.width}, s.dtype),
                      poisoned({shape.batch, a.tokens, shape.heads, shape.width}, s.dtype)};
      a.count = 2;
      Tensor x[2];
      for (int i = 0; i < 2; ++i) {
        x[i] = qkv.narrow(2, i * a.channels, a.channels);
        a.x[i] = x[i].const_data_ptr();
        a.weight[i] = floats(weights[i]);
        a.out[i] = out[i].data_ptr();
        a.row_stride[i] = qkv.size(2);
      }
      ASSERT_EQ(run_norm_rope(a, s.element, simt::HostRunner{}), cudaSuccess);
      auto [query, key] =
          reference::qk_norm_rope(x[0].to(at::kDouble), x[1].to(at::kDouble), weights[0].to(at::kDouble),
                                  weights[1].to(at::kDouble), rope, shape.heads, 1e-6);
      EXPECT_LT(relative_rms(out[0], query), s.tolerance(a.channels));
      EXPECT_LT(relative_rms(out[1], key), s.tolerance(a.channels));
    }
  }
}

TEST(RopeKernel, TurnsWithoutANorm) {
  at::manual_seed(2);
  for (const Shape& shape : kShapes) {
    Rope rope = rope_of(shape);
    RopeArguments a = arguments_of(shape, rope);
    Tensor x = at::randn({shape.batch, a.tokens, shape.heads, shape.width}), out = poisoned(x.sizes(), at::kFloat);
    a.count = 1;
    a.x[0] = x.const_data_ptr();
    a.out[0] = out.data_ptr();
    a.row_stride[0] = a.channels;
    ASSERT_EQ(run_norm_rope(a, Element::Float, simt::HostRunner{simt::Order::Reverse}), cudaSuccess);
    EXPECT_LT(relative_rms(out, reference::apply_rope(x.to(at::kDouble), rope)), 1e-6);
  }
}

}  // namespace
}  // namespace wan::kernels
