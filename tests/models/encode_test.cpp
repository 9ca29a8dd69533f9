// Codes that are made of values: their scales, rotations and errors.
#include "models/weights/encode.h"

#include <cmath>
#include <limits>

#include "tests/support.h"

namespace wan {
namespace {

using at::Tensor;
using kernels::Code;
using kernels::CodedMatrix;

TEST(Encode, CodesOfOurOwnAreWithinTheirBounds) {
  at::manual_seed(34);
  for (int64_t columns : {512, 192, 48, 40, 30})
    for (Code code : {Code::E4M3, Code::Int8}) {
      Tensor values = at::randn({6, columns}) * at::logspace(-20, 4, 6).unsqueeze(1);
      values[2].zero_();
      values[3][1] = 1e3;  // an outlier
      CodedMatrix codes = row_codes(code, 6, columns, at::kCPU);
      quantise_into(codes, 2, values.narrow(0, 2, 4));
      quantise_into(codes, 0, values.narrow(0, 0, 2));
      const int64_t order = code == Code::E4M3   ? 0
                            : columns % 256 == 0 ? 256
                            : columns % 64 == 0  ? 64
                            : columns == 48      ? 16
                            : columns == 40      ? 4
                                                 : 0;
      EXPECT_EQ(codes.rotation, order);
      const Tensor rotated = order ? kernels::regular_hadamard(values, order) : values;
      EXPECT_TRUE(codes.scale.allclose(rotated.abs().amax(1, true) / (code == Code::E4M3 ? 448 : 127), 1e-6, 0));
      const Tensor got = kernels::widen(codes, 0, 6, at::kFloat),
                   back = order ? kernels::regular_hadamard(got, order) : got;
      const Tensor scale = codes.scale.to(at::kDouble), exact = rotated.to(at::kDouble);
      const Tensor bound = code == Code::E4M3 ? at::maximum(exact.abs() / 16, (scale / 1024).expand_as(exact))
                                              : (scale / 2).expand_as(exact);
      // Rotating back and forth rounds, too.
      const Tensor slack = exact.abs().amax(1, true) * 2e-6;
      EXPECT_LE(((back.to(at::kDouble) - exact).abs() - bound - slack).max().item<double>(), 0);
      EXPECT_GT((back.to(at::kDouble) - exact).abs().max().item<double>(), 0);
      EXPECT_TRUE(got[2].equal(at::zeros({columns})));
    }
}

TEST(Encode, ARowThatIsNotFiniteHasNoFiniteCodes) {
  for (float wrong : {std::numeric_limits<float>::infinity(), std::nanf("")})
    for (Code code : {Code::E4M3, Code::Int8}) {
      Tensor values = at::ones({2, 64});
      values[1][3] = wrong;
      CodedMatrix codes = row_codes(code, 2, 64, at::kCPU);
      quantise_into(codes, 0, values);
      const Tensor got = kernels::widen(codes, 0, 2, at::kFloat);
      EXPECT_TRUE(got[0].isfinite().all().item<bool>());
      EXPECT_FALSE(got[1].isfinite().any().item<bool>());
    }
}

}  // namespace
}  // namespace wan
