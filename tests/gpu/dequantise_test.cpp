// Codes widened on a GPU against the CPU bit for bit, and linears that widen as they multiply against float64.
#include "kernels/dequantise/coded_matrix.h"
#include "kernels/dequantise/dequantise_cuda.h"
#include "kernels/dequantise/fp8_product.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {
namespace {

class DequantiseGpu : public Gpu {
 protected:
  /// Random bytes without two bits of each, so that no exponent is infinity's whatever the format.
  static CodedMatrix matrix_of(Code code, int64_t rows, int64_t columns) {
    const Coding& coding = coding_of(code);
    const Tensor codes = at::randint(0, 256, {rows, columns / coding.elements * coding.bytes}, at::kByte);
    return {.coding = &coding, .columns = columns, .codes = codes.bitwise_and(0xBB)};
  }

  static CodedMatrix on_gpu(CodedMatrix matrix) {
    matrix.codes = matrix.codes.to(at::kCUDA);
    if (matrix.scale.defined()) matrix.scale = matrix.scale.to(at::kCUDA);
    return matrix;
  }

  /// Rows `first` and `count` behind it, from the kernel.
  static void expect_equal(const CodedMatrix& matrix, int64_t first, int64_t count) {
    const CodedMatrix there = on_gpu(matrix);
    for (at::ScalarType dtype : kDtypes) {
      const Tensor out = at::empty({count, matrix.columns}, at::TensorOptions(at::kCUDA).dtype(dtype));
      ASSERT_TRUE(cuda::widen_rows(there, first, out));
      EXPECT_TRUE(out.cpu().equal(reference::widen(matrix, first, count, dtype))) << dtype;
    }
  }
};

TEST_F(DequantiseGpu, WidensEveryCodeAsTheCpuDoes) {
  for (int code = 0; code <= int(Code::NVFP4); ++code) {
    SCOPED_TRACE(testing::Message() << coding_of(Code(code)).name << ", code " << code);
    const CodedMatrix matrix = matrix_of(Code(code), 37, 5120);
    expect_equal(matrix, 0, 37);
    expect_equal(matrix, 5, 31);
    expect_equal(matrix, 36, 1);
  }
}

TEST_F(DequantiseGpu, MultipliesScalesAndRotates) {
  for (Code code : {Code::E4M3, Code::Int8, Code::E2M1, Code::E2M1Swapped, Code::Q6_K})
    for (at::ScalarType dtype : {at::kFloat, at::kFloat8_e4m3fn, at::kFloat8_e8m0fnu})
      for (int64_t rotation : {0, 4, 16, 64, 256}) {
        SCOPED_TRACE(testing::Message() << coding_of(code).name << ", " << dtype << ", groups of " << rotation);
        CodedMatrix matrix = matrix_of(code, 9, 1280);
        const Tensor scale = at::rand({9, 40}) + 0.01;
        matrix.scale =
            dtype == at::kFloat8_e8m0fnu ? at::randint(110, 130, {9, 40}, at::kByte).view(dtype) : scale.to(dtype);
        matrix.scale_columns = 32;
        matrix.factor = 1.3f;
        matrix.rotation = rotation;
        expect_equal(matrix, 2, 7);
      }
}

TEST_F(DequantiseGpu, RotatesLargerGroupsThere) {
  CodedMatrix matrix = matrix_of(Code::Int8, 5, 5120);
  matrix.rotation = 1024;
  const CodedMatrix there = on_gpu(matrix);
  EXPECT_FALSE(cuda::widen_rows(there, 0, at::empty({5, 5120}, at::TensorOptions(at::kCUDA).dtype(at::kFloat))));
  for (at::ScalarType dtype : kDtypes)
    EXPECT_TRUE(widen(there, 1, 4, dtype).cpu().equal(reference::widen(matrix, 1, 4, dtype))) << dtype;
}

TEST_F(DequantiseGpu, RowsThatFillNoPiece) {
  for (int64_t columns : {1, 5, 30, 4097}) expect_equal(matrix_of(Code::Int8, 3, columns), 1, 2);
}

TEST_F(DequantiseGpu, ALinearOfSeveralTilesIsThatOfTheValues) {
  constexpr int64_t kIn = 5120, kOut = 13824;
  for (Code code : {Code::E4M3, Code::Q4_K}) {
    CodedMatrix matrix = matrix_of(code, kOut, kIn);
    matrix.scale = (at::rand({kOut, 1}) + 0.5) * 1e-3;
    matrix.scale_columns = kIn;
    const CodedMatrix there = on_gpu(matrix);
    for (at::ScalarType dtype : kDtypes) {
      const Tensor x = randn({2, 65, kIn}, dtype), bias = randn({kOut}, dtype);
      const Tensor values = widen(there, 0, kOut, dtype);
      for (Activation activation : {Activation::None, Activation::GeluTanh, Activation::Silu})
        for (const Tensor& added : {bias, Tensor()}) {
          SCOPED_TRACE(testing::Message() << matrix.coding->name << ", " << dtype << ", " << int(activation));
          const Tensor want = reference::linear(wide(x), wide(values), wide(added), activation);
          // The product is rounded once more where an activation is behind it.
          EXPECT_LT(relative_rms(linear_coded(x, there, added, activation), want), 1.5 * rounding(dtype));
        }
    }
  }
}

TEST_F(DequantiseGpu, Fp8ProductsAreThoseOfTheRoundedRows) {
  constexpr int64_t kIn = 5120, kOut = 13824;
  CodedMatrix matrix = matrix_of(Code::E4M3, kOut, kIn);
  matrix.scale_columns = kIn;
  for (int64_t scales : {int64_t(1), kOut}) {
    matrix.scale = (at::rand({scales, 1}) + 0.5) * 1e-3;
    matrix.scale_rows = scales == 1 ? kOut : 1;
    const CodedMatrix there = on_gpu(matrix);
    for (at::ScalarType dtype : kDtypes) {
      const Tensor x = randn({2, 1100, kIn}, dtype), bias = randn({kOut}, dtype);
      const bool direct = cuda::architecture(x.device()) >= cuda::kFloat8Architecture;
      EXPECT_EQ(cuda::takes_fp8(x, there, default_context()), direct);
      const Tensor rounded = widened(quantise_fp8_rows(x.reshape({-1, kIn})), at::kFloat).view(x.sizes());
      const Tensor want = reference::linear(wide(rounded), wide(widen(there, 0, kOut, at::kFloat)), wide(bias));
      EXPECT_LT(relative_rms(linear_fp8(x, there, bias), want), 2e-3 + 2 * rounding(dtype)) << dtype;
    }
  }
}

}  // namespace
}  // namespace wan::kernels
