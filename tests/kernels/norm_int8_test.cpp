// Norms that end in 8-bit rows: the reference against its two halves, the kernel (executed through the shim) against
// the norm's kernel and the reference.
#include "kernels/norm/norm_int8.h"

#include <cmath>

#include "kernels/norm/norm_int8.cuh"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

constexpr double kEps = 1e-6;
constexpr int64_t kWidths[] = {128, 1536, 5120};  // orders 64, 256, 256
const Segments kSegments[] = {{3}, {1, 3}, {1}, {0, 1}};

/// Each channel of a row lies in one place, and each group of 256 in one warp.
template <int kPairs>
constexpr bool every_group_lies_in_one_warp() {
  using Tile = GroupTile<kPairs>;
  constexpr int kPacks = kRowThreads * Tile::kSteps, kGroup = 256;
  bool seen[kPacks] = {};
  for (int step = 0; step < Tile::kSteps; ++step) {
    for (int thread = 0; thread < kRowThreads; ++thread) {
      const int channel = row_channel<Tile>(thread, step), pack = channel / Tile::kPack;
      if (channel % Tile::kPack || pack >= kPacks || seen[pack]) return false;
      seen[pack] = true;
      const int first = row_channel<Tile>(thread / simt::kWarp * simt::kWarp, step / 2 * 2);
      if (first % kGroup || channel / kGroup != first / kGroup) return false;
      // The channel's number: two bits in the pack, five in the lane, one in the step (rotate_halves).
      if (channel % kGroup != step % 2 * 128 + thread % simt::kWarp * 4) return false;
    }
  }
  return true;
}
static_assert(every_group_lies_in_one_warp<1>() && every_group_lies_in_one_warp<3>() &&
              every_group_lies_in_one_warp<8>());

/// A norm, with a residual before it where y is defined.
struct Case {
  Tensor x, y, gate;
  NextNorm next;
  Segments ends;
};

enum class Kind { Modulated, Affine, Plain };

Case make_case(int64_t batch, int64_t width, const Segments& ends, Kind kind, at::ScalarType dtype, bool residual) {
  const int64_t tokens = ends.back(), rows = std::ssize(ends);
  Case c{at::randn({batch, tokens, width}), {}, {}, {{}, {}, {}, {}, kEps}, ends};
  if (residual) c.y = at::randn({batch, tokens, width}).to(dtype), c.gate = at::randn({rows, width});
  if (kind == Kind::Modulated) c.next.shift = at::randn({rows, width}), c.next.scale = at::randn({rows, width});
  if (kind == Kind::Affine) c.next.weight = at::randn({width}), c.next.bias = at::randn({width});
  return c;
}

/// A row of [S, width] for each segment.
Tensor rows_of(const Tensor& parameter, const Segments& ends) {
  return parameter.defined() ? parameter.expand({std::ssize(ends), -1}).contiguous() : parameter;
}

LayerNormArguments norm_arguments(const Case& c, const Tensor& x, const Tensor& y, const Tensor& multiplier,
                                  const Tensor& offset) {
  LayerNormArguments a{};
  a.x = x.data_ptr<float>();
  a.y = y.defined() ? y.const_data_ptr() : nullptr;
  a.gate = floats(c.gate);
  a.multiplier = floats(multiplier);
  a.offset = floats(offset);
  a.one = c.next.shift.defined() ? 1 : 0;
  a.rows = x.size(0) * x.size(1);
  a.tokens = int(x.size(1));
  a.channels = int(x.size(2));
  a.eps = float(kEps);
  a.segments.count = int(c.ends.size());
  std::copy(c.ends.begin(), c.ends.end(), a.segments.ends);
  return a;
}

/// The kernel's codes; x takes the residual.
QuantisedRows run_kernel(const Case& c, const Tensor& x, Element element, simt::Order order) {
  const Tensor multiplier = c.next.shift.defined() ? c.next.scale : rows_of(c.next.weight, c.ends);
  const Tensor offset = c.next.shift.defined() ? c.next.shift : rows_of(c.next.bias, c.ends);
  QuantisedRows out = {at::full(x.sizes(), -128, at::kChar), poisoned({x.size(0), x.size(1)}, at::kFloat)};
  const LayerNormInt8Arguments a{norm_arguments(c, x, c.y, multiplier, offset), out.codes.data_ptr<int8_t>(),
                                 out.scale.data_ptr<float>()};
  run_layer_norm_int8(a, element, simt::HostRunner{order});
  return out;
}

/// What the norm's own kernel makes of the same row in the same registers, in float32, quantised by ATen.
QuantisedRows quantised_norm(const Case& c, const Tensor& x) {
  const Tensor multiplier = c.next.shift.defined() ? c.next.scale : rows_of(c.next.weight, c.ends);
  const Tensor offset = c.next.shift.defined() ? c.next.shift : rows_of(c.next.bias, c.ends);
  const Tensor out = poisoned(x.sizes(), at::kFloat), y = c.y.defined() ? c.y.to(at::kFloat) : c.y;
  LayerNormArguments a = norm_arguments(c, x, y, multiplier, offset);
  a.out = out.data_ptr();
  with_group_tile(a.channels, [&](auto tile) {
    auto* kernel =
        a.y ? layer_norm_kernel<float, decltype(tile), true> : layer_norm_kernel<float, decltype(tile), false>;
    return simt::HostRunner{}(dim3(unsigned(a.rows)), kRowThreads, 0, kernel, a);
  });
  return reference::quantise_rows(out);
}

QuantisedRows reference_of(const Case& c, Tensor& x) {
  return c.y.defined() ? reference::gated_residual_norm_int8_(x, c.y, c.gate, c.next, c.ends)
                       : reference::modulated_layer_norm_int8(x, c.next.shift, c.next.scale, c.ends, kEps);
}

void expect_equal(const QuantisedRows& got, const QuantisedRows& want) {
  EXPECT_TRUE(got.codes.equal(want.codes));
  EXPECT_TRUE(got.scale.equal(want.scale));
}

/// Sums in another order move a code that lies beside a half: by one, and one in a thousand.
void expect_near(const QuantisedRows& got, const QuantisedRows& want) {
  const Tensor steps = (got.codes.to(at::kInt) - want.codes.to(at::kInt)).abs();
  EXPECT_LE(steps.max().item<int>(), 1);
  EXPECT_LE(steps.sum().item<int64_t>(), 1 + steps.numel() / 1000);
  EXPECT_LT(relative_rms(got.scale, want.scale), 1e-5);
}

TEST(NormInt8Kernel, HasTheCodesOfTheNormThatIsQuantisedAfterwards) {
  for (int64_t width : kWidths) {
    for (const Segments& ends : kSegments) {
      for (Kind kind : {Kind::Modulated, Kind::Affine, Kind::Plain}) {
        SCOPED_TRACE(testing::Message() << width << ", " << ends.size() << " to " << ends.back() << ", " << int(kind));
        at::manual_seed(width + int(kind));
        const Case c = make_case(2, width, ends, kind, at::kFloat, false);
        const QuantisedRows want = quantised_norm(c, c.x);
        for (simt::Order order : kOrders) expect_equal(run_kernel(c, c.x.clone(), Element::Float, order), want);
      }
    }
  }
}

TEST(NormInt8Kernel, HasThemBehindAResidualOfEveryDtype) {
  for (const Storage& s : kStorages) {
    for (int64_t width : kWidths) {
      for (const Segments& ends : kSegments) {
        for (Kind kind : {Kind::Modulated, Kind::Affine}) {
          SCOPED_TRACE(testing::Message() << s.dtype << ", " << width << ", " << ends.size() << ", " << int(kind));
          at::manual_seed(width);
          Case c = make_case(1, width, ends, kind, s.dtype, true);
          if (kind == Kind::Affine && ends.size() == 1) c.gate = Tensor();
          const Tensor sum = c.x.clone();
          const QuantisedRows want = quantised_norm(c, sum);
          for (simt::Order order : kOrders) {
            const Tensor x = c.x.clone();
            expect_equal(run_kernel(c, x, s.element, order), want);
            EXPECT_TRUE(x.equal(sum));
          }
        }
      }
    }
  }
}

TEST(NormInt8Kernel, IsTheReferenceAtEveryWidthItTakes) {
  for (int64_t width : {128, 256, 384, 1024, 1152, 1536, 2048, 3072, 5120, 5248, 6144, 6272, 16384}) {
    for (bool residual : {false, true}) {
      SCOPED_TRACE(testing::Message() << width << (residual ? " with a residual" : ""));
      at::manual_seed(width);
      const Case c = make_case(1, width, {1, 3}, Kind::Modulated, at::kBFloat16, residual);
      Tensor x = c.x.clone(), want_x = c.x.clone();
      const QuantisedRows want = reference_of(c, want_x);
      expect_near(run_kernel(c, x, Element::BFloat16, simt::Order::Forward), want);
      EXPECT_LT(relative_rms(x, want_x), 1e-6);
    }
  }
}

TEST(NormInt8Kernel, KeepsOddRowsApart) {
  enum { kConstant, kFar, kZero, kBroken, kInfinite, kUsual, kRows };
  for (int64_t width : kWidths) {
    for (bool residual : {false, true}) {
      SCOPED_TRACE(testing::Message() << width << (residual ? " with a residual" : ""));
      at::manual_seed(8);
      Case c = make_case(1, width, {2, kRows}, Kind::Plain, at::kHalf, residual);
      c.x[0][kConstant].fill_(0.1);  // whose mean is rounded
      c.x[0][kFar] += 1e4;
      c.x[0][kZero].zero_();
      c.x[0][kBroken][width - 1] = NAN;
      c.x[0][kInfinite][0] = INFINITY;
      if (residual) c.y[0][kConstant].zero_(), c.y[0][kZero].zero_(), c.y[0][kFar].zero_();
      c.next.weight = at::ones({width});
      for (simt::Order order : kOrders) {
        const Tensor x = c.x.clone();
        const QuantisedRows got = run_kernel(c, x, Element::Half, order);
        for (int row : {kConstant, kZero}) {
          EXPECT_TRUE(got.codes[0][row].eq(0).all().item<bool>()) << row;
          EXPECT_EQ(got.scale[0][row].item<float>(), 0) << row;
        }
        for (int row : {kBroken, kInfinite}) EXPECT_FALSE(std::isfinite(got.scale[0][row].item<float>())) << row;
        // Half a step of the codes, and what float32 keeps of a row at 1e4.
        const Tensor exact = at::layer_norm(x[0].to(at::kDouble), {width}, {}, {}, kEps);
        for (int row : {kFar, kUsual}) {
          const Tensor values = got.codes[0][row] * got.scale[0][row];
          EXPECT_LT(relative_rms(values, rotate(exact[row])), 1.4e-2) << row;
        }
        EXPECT_TRUE(got.codes.ne(-128).all().item<bool>());
      }
    }
  }
}

TEST(NormInt8, IsTheNormInFloat32AndThenTheQuantiser) {
  at::manual_seed(9);
  const Segments ends = {2100, 2300};  // blocks of tokens end within segments, and segments within blocks
  Tensor x = at::randn({2, 2300, 128}), y = at::randn({2, 2300, 128}).to(at::kBFloat16), gate = at::randn({2, 128});
  const Tensor shift = at::randn({2, 128}), scale = at::randn({2, 128}), weight = at::randn({128});
  expect_equal(modulated_layer_norm_int8(x, shift, scale, ends, kEps),
               quantise_rows(modulated_layer_norm(x, shift, scale, ends, kEps, at::kFloat)));
  for (const NextNorm& next : {NextNorm{{}, {}, shift, scale, kEps}, NextNorm{weight, shift[0], {}, {}, kEps}}) {
    Tensor sum = x.clone(), want_sum = x.clone();
    const QuantisedRows got = gated_residual_norm_int8_(sum, y, gate, next, ends);
    expect_equal(got, quantise_rows(gated_residual_norm_(want_sum, y, gate, next, ends, at::kFloat)));
    EXPECT_TRUE(sum.equal(want_sum));
  }
  EXPECT_EQ(modulated_layer_norm_int8(x.narrow(1, 0, 0), shift, scale, {0, 0}, kEps).codes.numel(), 0);
}

TEST(NormInt8, RefusesOtherShapes) {
  const Tensor x = at::ones({1, 3, 128}), row = at::ones({1, 128});
  const auto modulated = [&](const Tensor& x, const Tensor& row, const Segments& ends) {
    modulated_layer_norm_int8(x, row, row, ends, kEps);
  };
  EXPECT_NO_THROW(modulated(x, row, {3}));
  EXPECT_THROW(modulated(x, row, {2}), c10::Error);
  EXPECT_THROW(modulated(x, row, {1, 3}), c10::Error);
  EXPECT_THROW(modulated(x.to(at::kDouble), row, {3}), c10::Error);
  EXPECT_THROW(modulated(at::ones({1, 2, 64}), at::ones({1, 64}), {2}),
               c10::Error);  // no whole slice, though 128 values
  Tensor sum = x.clone();
  const NextNorm next{row[0], row[0], {}, {}, kEps};
  EXPECT_THROW(gated_residual_norm_int8_(sum, x.narrow(1, 0, 2), {}, next, {3}), c10::Error);
  EXPECT_THROW(gated_residual_norm_int8_(sum, x, at::ones({2, 128}), next, {3}), c10::Error);
  EXPECT_THROW(gated_residual_norm_int8_(sum, x, {}, {row, row, {}, {}, kEps}, {3}), c10::Error);
  EXPECT_TRUE(sum.equal(x));
}

}  // namespace
}  // namespace wan::kernels
