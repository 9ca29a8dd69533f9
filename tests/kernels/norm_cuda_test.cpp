// The norm kernels, executed through the shim, against the reference in float64.
#include "kernels/norm/norm.cuh"
#include "kernels/norm/norm.h"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

// 5120 is A14B; 1536 and 3072 the smaller models; the rest are tails, odd widths and the largest.
constexpr int kWidths[] = {1, 31, 128, 1023, 1536, 3072, 5120, 5124, 16384};
constexpr double kEps = 1e-6;

struct Case {
  Tensor x, y, gate, multiplier, offset;
  Segments ends;
};

Case make_case(int64_t batch, int64_t tokens, int64_t width, at::ScalarType dtype, const Segments& ends) {
  const int64_t rows = std::ssize(ends);
  Case c{at::randn({batch, tokens, width}), at::randn({batch, tokens, width}).to(dtype),
         at::randn({rows, width}),          at::randn({rows, width}),
         at::randn({rows, width}),          ends};
  c.x.select(1, 0).fill_(3);         // variance 0
  c.x.select(1, tokens - 1) += 1e4;  // a large mean
  return c;
}

LayerNormArguments arguments_of(const Case& c, const Tensor& x, const Tensor& out, bool residual) {
  LayerNormArguments a{};
  a.x = x.data_ptr<float>();
  a.y = residual ? c.y.const_data_ptr() : nullptr;
  a.gate = floats(c.gate);
  a.multiplier = floats(c.multiplier);
  a.offset = floats(c.offset);
  a.one = 1;
  a.out = out.defined() ? out.data_ptr() : nullptr;
  a.rows = x.size(0) * x.size(1);
  a.tokens = int(x.size(1));
  a.channels = int(x.size(2));
  a.eps = float(kEps);
  a.segments.count = int(c.ends.size());
  std::copy(c.ends.begin(), c.ends.end(), a.segments.ends);
  return a;
}

TEST(NormKernels, ModulatedLayerNorm) {
  at::manual_seed(1);
  for (const Storage& s : kStorages) {
    for (int width : kWidths) {
      SCOPED_TRACE(testing::Message() << s.dtype << " width " << width);
      Case c = make_case(2, 5, width, s.dtype, {2, 5});
      Tensor before = c.x.clone(), out = poisoned(c.x.sizes(), s.dtype);
      run_layer_norm(arguments_of(c, c.x, out, false), s.element, simt::HostRunner{});
      Tensor want = reference::modulated_layer_norm(c.x.to(at::kDouble), c.offset.to(at::kDouble),
                                                    c.multiplier.to(at::kDouble), c.ends, kEps, at::kDouble);
      // Tokens near 1e4 hold 1e-3 steps of float32; all others are compared at full precision.
      EXPECT_LT(relative_rms(out.narrow(1, 0, 4), want.narrow(1, 0, 4)), s.tolerance(width));
      EXPECT_LT(relative_rms(out, want), std::max(s.tolerance(width), 2e-5));
      EXPECT_TRUE(c.x.equal(before));
    }
  }
}

TEST(NormKernels, RealRowsOfA14BInBothOrders) {
  at::manual_seed(2);
  Case c = make_case(1, 64, 5120, at::kBFloat16, {64});
  Tensor want = c.x.clone();
  Tensor normed =
      reference::gated_residual_norm_(want, c.y, c.gate, {{}, {}, c.offset, c.multiplier, kEps}, c.ends, at::kFloat);
  for (simt::Order order : kOrders) {
    Tensor x = c.x.clone(), out = poisoned(c.x.sizes(), at::kBFloat16);
    run_layer_norm(arguments_of(c, x, out, true), Element::BFloat16, simt::HostRunner{order});
    EXPECT_LT(relative_rms(x, want), 1e-6);  // the residual stream stays float32
    EXPECT_LT(relative_rms(out, normed), 2e-3);
  }
}

TEST(NormKernels, ResidualWithEverySegmentGateAndNorm) {
  at::manual_seed(3);
  for (const Storage& s : kStorages) {
    for (int width : {31, 1536}) {
      for (const Segments& ends : {Segments{5}, Segments{0, 5}, Segments{1, 2, 4, 5}}) {
        for (bool affine : {false, true}) {
          if (affine && ends.size() > 1) continue;
          SCOPED_TRACE(testing::Message() << s.dtype << " width " << width << " segments " << ends.size());
          Case c = make_case(2, 5, width, s.dtype, ends);
          if (affine) c.gate = Tensor();
          Tensor x = c.x.clone(), out = poisoned(c.x.sizes(), s.dtype), want = c.x.to(at::kDouble);
          LayerNormArguments a = arguments_of(c, x, out, true);
          NextNorm next{{}, {}, c.offset.to(at::kDouble), c.multiplier.to(at::kDouble), kEps};
          if (affine) {
            a.one = 0;
            next = {c.multiplier[0].to(at::kDouble), c.offset[0].to(at::kDouble), {}, {}, kEps};
          }
          Tensor gate = c.gate.defined() ? c.gate.to(at::kDouble) : Tensor();
          Tensor normed = reference::gated_residual_norm_(want, c.y.to(at::kDouble), gate, next, ends, at::kDouble);
          run_layer_norm(a, s.element, simt::HostRunner{});
          EXPECT_LT(relative_rms(x, want), 1e-6);
          EXPECT_LT(relative_rms(out.narrow(1, 0, 4), normed.narrow(1, 0, 4)), s.tolerance(width));
          // The residual alone leaves the same x.
          Tensor alone = c.x.clone();
          run_gated_residual(arguments_of(c, alone, {}, true), s.element, simt::HostRunner{});
          EXPECT_TRUE(alone.equal(x));
        }
      }
    }
  }
}

TEST(NormKernels, PlainLayerNormHasNoAffine) {
  at::manual_seed(4);
  Case c = make_case(1, 3, 1536, at::kFloat, {3});
  c.multiplier = c.offset = Tensor();
  for (float one : {0.0f, 1.0f}) {
    Tensor out = poisoned(c.x.sizes(), at::kFloat);
    LayerNormArguments a = arguments_of(c, c.x, out, false);
    a.one = one;
    run_layer_norm(a, Element::Float, simt::HostRunner{});
    Tensor want = reference::layer_norm(c.x.to(at::kDouble), {}, {}, kEps, at::kDouble);
    EXPECT_LT(relative_rms(out, want), 2e-5);
  }
}

TEST(NormKernels, RmsNorm) {
  at::manual_seed(5);
  for (const Storage& s : kStorages) {
    for (int width : kWidths) {
      SCOPED_TRACE(testing::Message() << s.dtype << " width " << width);
      Tensor x = at::randn({5, width}), weight = at::randn({width});
      x.select(0, 1).zero_();
      x.select(0, 2) *= 1e-3;                       // makes eps visible
      x.select(0, 3).slice(0, 0, width, 17) *= 50;  // outliers
      x = x.to(s.dtype);
      Tensor out = poisoned({5, width}, s.dtype);
      RmsNormArguments a{x.const_data_ptr(), floats(weight), out.data_ptr(), 5, width, float(kEps)};
      run_rms_norm(a, s.element, simt::HostRunner{});
      Tensor want = reference::rms_norm(x.to(at::kDouble), weight.to(at::kDouble), kEps);
      EXPECT_LT(relative_rms(out, want), s.tolerance(width));
      EXPECT_LT(relative_rms(out[2], want[2]), s.half_unit);
    }
  }
}

}  // namespace
}  // namespace wan::kernels
