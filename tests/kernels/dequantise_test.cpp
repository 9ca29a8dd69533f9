// Codes widened by the kernel (executed through the shim), against the reference: bit for bit.
#include "kernels/dequantise/dequantise.cuh"

#include <c10/util/Float8_e8m0fnu.h>

#include <cstring>

#include "kernels/dequantise/coded_matrix.h"
#include "kernels/dequantise/value_loops.h"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

constexpr int kCodes = int(Code::NVFP4) + 1;
/// Beside the output, on both sides; as many bytes as a piece.
constexpr uint8_t kCanary = 0xA5;
constexpr int64_t kCanaries = 64;

/// Keeps the exponent of a half, wherever it begins, below that of infinity, and of an E4M3 too.
constexpr int kFinite = 0xBB;

/// A matrix of random bytes, scales among them, that lie `shift` bytes behind an aligned address.
CodedMatrix matrix_of(Code code, int64_t rows, int64_t columns, int64_t shift = 0, int mask = 0xFF) {
  const Coding& coding = coding_of(code);
  const int64_t bytes = columns / coding.elements * coding.bytes;
  const Tensor storage = at::randint(0, 256, {shift + rows * bytes}, at::kByte).bitwise_and(mask);
  return {.coding = &coding, .columns = columns, .codes = storage.narrow(0, shift, rows * bytes).view({rows, bytes})};
}

ScaleElement scale_element_of(const Tensor& scale) {
  return scale.scalar_type() == at::kFloat            ? ScaleElement::Float
         : scale.scalar_type() == at::kFloat8_e8m0fnu ? ScaleElement::E8M0
                                                      : ScaleElement::E4M3;
}

WidenArguments arguments_of(const CodedMatrix& matrix, int64_t first, int64_t count) {
  WidenArguments a{};
  a.row_bytes = matrix.codes.size(1);
  a.codes = matrix.codes.const_data_ptr<uint8_t>() + first * a.row_bytes;
  a.rows = count;
  a.columns = matrix.columns;
  a.first_row = first;
  a.scale_rows = matrix.scale_rows;
  a.scale_columns = matrix.scale_columns;
  if (matrix.scale.defined()) {
    a.scale = matrix.scale.const_data_ptr();
    a.scale_element = scale_element_of(matrix.scale);
    a.scales_a_row = matrix.scale.size(1);
  }
  a.factor = matrix.factor;
  a.rotation = int(matrix.rotation);
  return a;
}

/// The kernel's values; fails where something else than the output has changed.
Tensor run_kernel(const CodedMatrix& matrix, int64_t first, int64_t count, const Storage& s, simt::Order order) {
  const int64_t bytes = count * matrix.columns * int64_t(at::elementSize(s.dtype));
  Tensor memory = at::full({bytes + 2 * kCanaries}, kCanary, at::kByte);
  WidenArguments a = arguments_of(matrix, first, count);
  a.out = memory.data_ptr<uint8_t>() + kCanaries;
  a.element = s.element;
  const Tensor codes = matrix.codes.clone();
  run_widen(a, matrix.coding->code, simt::HostRunner{order});
  EXPECT_TRUE(matrix.codes.equal(codes));
  EXPECT_TRUE(memory.narrow(0, 0, kCanaries).eq(kCanary).all().item<bool>()) << "in front of the output";
  EXPECT_TRUE(memory.narrow(0, kCanaries + bytes, kCanaries).eq(kCanary).all().item<bool>()) << "behind the output";
  return memory.narrow(0, kCanaries, bytes).clone().view(s.dtype).view({count, matrix.columns});
}

/// Equal bits, or both not a number.
testing::AssertionResult same(const Tensor& got, const Tensor& want) {
  if (got.sizes() != want.sizes() || got.scalar_type() != want.scalar_type())
    return testing::AssertionFailure() << "another shape or dtype";
  const at::ScalarType bits = at::elementSize(got.scalar_type()) == 4 ? at::kInt : at::kShort;
  const Tensor wrong =
      got.view(bits).ne(want.view(bits)).logical_and(got.isnan().logical_and(want.isnan()).logical_not());
  if (!wrong.any().item<bool>()) return testing::AssertionSuccess();
  const Tensor at = wrong.nonzero()[0];
  const int64_t row = at[0].item<int64_t>(), column = at[1].item<int64_t>();
  return testing::AssertionFailure() << wrong.sum().item<int64_t>() << " values differ, first at " << row << ", "
                                     << column << ": " << got[row][column].item<float>() << " is not "
                                     << want[row][column].item<float>();
}

testing::AssertionResult is_reference(const CodedMatrix& matrix, int64_t first, int64_t count, const Storage& s,
                                      simt::Order order = simt::Order::Forward) {
  return same(run_kernel(matrix, first, count, s, order), reference::widen(matrix, first, count, s.dtype));
}

/// Values of a row of five blocks of 256.
constexpr int64_t kColumns = 1280;

TEST(WidenKernel, IsTheReferenceForEveryCode) {
  for (int code = 0; code < kCodes; ++code) {
    SCOPED_TRACE(testing::Message() << coding_of(Code(code)).name << ", code " << code);
    at::manual_seed(code);
    const CodedMatrix matrix = matrix_of(Code(code), 5, kColumns);
    const Tensor values = reference::widen(matrix, 0, 5, at::kFloat);
    EXPECT_LT(values.isfinite().logical_not().sum().item<int64_t>(), values.numel() / 4) << "little to compare";
    for (const Storage& s : kStorages) {
      EXPECT_TRUE(is_reference(matrix, 0, 5, s));
      EXPECT_TRUE(is_reference(matrix, 3, 2, s)) << "from row 3";
      EXPECT_TRUE(is_reference(matrix, 4, 1, s, simt::Order::Reverse)) << "the last row";
    }
  }
}

TEST(WidenKernel, ReadsCodesAtAnyAddress) {
  for (Code code : {Code::E4M3, Code::E2M1, Code::Q8_0, Code::Q6_K, Code::MXFP4, Code::IQ3_S})
    for (int64_t shift : {1, 2, 7, 15}) {
      SCOPED_TRACE(testing::Message() << coding_of(code).name << " behind " << shift << " bytes");
      at::manual_seed(shift);
      EXPECT_TRUE(is_reference(matrix_of(code, 9, kColumns, shift), 1, 7, kStorages[1]));
    }
}

TEST(WidenKernel, TakesRowsThatFillNoPiece) {
  for (Code code : {Code::E4M3, Code::E5M2, Code::Int8, Code::E2M1, Code::E2M1Swapped})
    for (int64_t columns : {2, 6, 8, 30, 4098})
      for (const Storage& s : kStorages) {
        SCOPED_TRACE(testing::Message() << coding_of(code).name << ", " << columns << " columns, " << s.dtype);
        CodedMatrix matrix = matrix_of(code, 3, columns, 1);
        EXPECT_TRUE(is_reference(matrix, 1, 2, s));
        matrix.scale = at::rand({3, 1});
        matrix.scale_columns = columns;
        EXPECT_TRUE(is_reference(matrix, 1, 2, s)) << "with scales";
      }
  for (int64_t columns : {1, 5, 4097}) EXPECT_TRUE(is_reference(matrix_of(Code::Int8, 3, columns), 2, 1, kStorages[0]));
}

/// Scales of finite values, as a grid over the matrix.
void put_scales(CodedMatrix& matrix, at::ScalarType dtype, int64_t rows, int64_t columns) {
  const auto tiles = [](int64_t size, int64_t tile) { return (size + tile - 1) / tile; };
  const Tensor wide = at::rand({tiles(matrix.rows(), rows), tiles(matrix.columns, columns)}) + 0.01;
  matrix.scale = dtype == at::kFloat8_e8m0fnu ? at::randint(100, 140, wide.sizes(), at::kByte).view(at::kFloat8_e8m0fnu)
                                              : wide.to(dtype);
  matrix.scale_rows = rows;
  matrix.scale_columns = columns;
}

TEST(WidenKernel, MultipliesGridsOfScalesAndAFactor) {
  struct Tile {
    int64_t rows, columns;
  };
  for (Code code : {Code::E4M3, Code::Int8, Code::E2M1, Code::E2M1Swapped, Code::Q4_0})
    for (at::ScalarType dtype : {at::kFloat, at::kFloat8_e4m3fn, at::kFloat8_e8m0fnu})
      for (const Tile tile : {Tile{1, 16}, {1, 32}, {2, 128}, {1, kColumns}, {7, kColumns + 9}, {3, 5}, {100, 1}}) {
        SCOPED_TRACE(testing::Message() << coding_of(code).name << ", " << dtype << " for " << tile.rows << " x "
                                        << tile.columns);
        at::manual_seed(tile.columns);
        CodedMatrix matrix = matrix_of(code, 7, kColumns);
        put_scales(matrix, dtype, tile.rows, tile.columns);
        EXPECT_TRUE(is_reference(matrix, 0, 7, kStorages[0]));
        matrix.factor = 0.3f;
        EXPECT_TRUE(is_reference(matrix, 3, 4, kStorages[1]));
      }
}

TEST(WidenKernel, KnowsEveryCodeOfAByte) {
  const Tensor all = at::arange(256, at::kInt).to(at::kByte).view({1, 256});
  for (Code code : {Code::E4M3, Code::E5M2, Code::Int8}) {
    CodedMatrix matrix{.coding = &coding_of(code), .columns = 256, .codes = all};
    for (const Storage& s : kStorages) EXPECT_TRUE(is_reference(matrix, 0, 1, s)) << coding_of(code).name;
  }
  for (at::ScalarType dtype : {at::kFloat8_e4m3fn, at::kFloat8_e8m0fnu}) {
    CodedMatrix matrix{.coding = &coding_of(Code::Int8), .columns = 8, .codes = at::ones({256, 8}, at::kByte)};
    matrix.scale = all.view(dtype).view({256, 1});
    matrix.scale_columns = 8;
    EXPECT_TRUE(is_reference(matrix, 0, 256, kStorages[0])) << dtype;
  }
}

TEST(WidenKernel, RotatesInTheOrderOfTheReference) {
  for (Code code : {Code::Int8, Code::E4M3, Code::E2M1, Code::Q4_K, Code::IQ2_S})
    for (int64_t order : {4, 16, 64, 256})
      for (const Storage& s : kStorages) {
        SCOPED_TRACE(testing::Message() << coding_of(code).name << ", groups of " << order << ", " << s.dtype);
        at::manual_seed(order);
        CodedMatrix matrix = matrix_of(code, 7, kColumns, 1, kFinite);
        matrix.rotation = order;
        EXPECT_TRUE(is_reference(matrix, 2, 5, s));
        put_scales(matrix, at::kFloat, 1, kColumns);
        matrix.factor = 1.7f;
        for (simt::Order turns : kOrders) EXPECT_TRUE(is_reference(matrix, 1, 1, s, turns)) << "with scales";
      }
}

TEST(WidenKernel, CutsLongRowsIntoChunks) {
  constexpr int64_t kLong = 2 * kWidenChunk + 256;
  for (Code code : {Code::E4M3, Code::E2M1, Code::Q8_0, Code::Q3_K})
    for (int64_t order : {0, 64, 256}) {
      CodedMatrix matrix = matrix_of(code, 3, kLong, 3, kFinite);
      put_scales(matrix, at::kFloat8_e4m3fn, 2, 32);
      matrix.rotation = order;
      EXPECT_TRUE(is_reference(matrix, 1, 2, kStorages[1])) << coding_of(code).name << ", groups of " << order;
    }
}

TEST(WidenKernel, RotatesRowsShorterThanItsGrains) {
  for (int64_t order : {4, 16, 64}) {
    CodedMatrix matrix = matrix_of(Code::Int8, 9, order);
    matrix.rotation = order;
    EXPECT_TRUE(is_reference(matrix, 0, 9, kStorages[0])) << order;
    put_scales(matrix, at::kFloat, 1, order);
    EXPECT_TRUE(is_reference(matrix, 1, 8, kStorages[2])) << order;
  }
}

/// Two ways to the same sums: the loops of the CPU and ATen's operations.
TEST(WidenReference, RotatesAsTheMatrixDoes) {
  at::manual_seed(4);
  for (int64_t order : {1, 4, 16, 64, 256, 1024}) {
    const Tensor x = at::randn({3, 2048}), loops = x.clone();
    rotate_groups(loops.data_ptr<float>(), loops.numel(), order);
    EXPECT_TRUE(loops.equal(regular_hadamard(x, order))) << order;
  }
}

TEST(LinearCoded, TilesGiveWhatTheWholeGives) {
  constexpr int64_t kRows = 4000, kWide = 5120;  // 82 MB in float32
  static_assert(kRows * kWide * 4 > kWidenedTileBytes);
  at::manual_seed(6);
  CodedMatrix weight = matrix_of(Code::Int8, kRows, kWide);
  weight.scale = at::rand({kRows, 1}).add_(0.5).mul_(1e-3);
  weight.scale_columns = kWide;
  const Tensor bias = at::randn({kRows}), values = reference::widen(weight, 0, kRows, at::kFloat);
  for (const Tensor& x : {at::randn({2, 3, kWide}), at::randn({kWide})})
    for (Activation activation : {Activation::None, Activation::GeluTanh})
      for (const Tensor& added : {bias, Tensor()})
        EXPECT_TRUE(is_close(linear_coded(x, weight, added, activation), linear(x, values, added, activation), 1e-4));
}

TEST(WidenKernel, BlocksHaveTheSizesOfTheFormats) {
  for (int code = 0; code < kCodes; ++code)
    widening::with_block(Code(code), [&](auto type) {
      using Block = typename decltype(type)::type;
      EXPECT_EQ(Block::kElements * coding_of(Code(code)).bytes, Block::kBytes * coding_of(Code(code)).elements) << code;
      EXPECT_EQ(widening::kChunk % Block::kElements, 0) << code;
      return cudaSuccess;
    });
}

}  // namespace
}  // namespace wan::kernels
