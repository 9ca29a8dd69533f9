// Every index map is a bijection onto its tile, agrees with the tables of the PTX ISA, and has no bank conflicts.
#include "kernels/op/fragments.h"
#include "models/weights/scope.h"

#include <gtest/gtest.h>

#include <set>

namespace wan::kernels::fragments {
namespace {

constexpr bool same(Place a, Place b) {
  return a.row == b.row && a.column == b.column;
}

// Corners read off the figures of the PTX ISA: lane 0 and lane 31, first and last element.
static_assert(same(a_16x16(0, 0), {0, 0}) && same(a_16x16(0, 2), {8, 0}) && same(a_16x16(0, 4), {0, 8}));
static_assert(same(a_16x16(31, 7), {15, 15}) && same(a_16x16(5, 1), {1, 3}));
static_assert(same(b_16x8(0, 2), {8, 0}) && same(b_16x8(31, 3), {15, 7}) && same(b_16x8(5, 0), {2, 1}));
static_assert(same(c_16x8(31, 3), {15, 7}) && same(c_16x8(5, 1), {1, 3}));
static_assert(same(a_16x32(0, 4), {8, 0}) && same(a_16x32(0, 8), {0, 16}) && same(a_16x32(31, 15), {15, 31}));
static_assert(same(b_32x8(0, 4), {16, 0}) && same(b_32x8(31, 7), {31, 7}));

template <typename Map>
void expect_bijection(Map map, int elements, int rows, int columns) {
  std::set<std::pair<int, int>> seen;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < elements; ++i) {
      auto [row, column] = map(lane, i);
      EXPECT_TRUE(row >= 0 && row < rows && column >= 0 && column < columns);
      EXPECT_TRUE(seen.insert({row, column}).second);
    }
  }
  EXPECT_EQ(int(seen.size()), rows * columns);
}

TEST(Fragments, CoverTheirTilesOnce) {
  expect_bijection(a_16x16, 8, 16, 16);
  expect_bijection(b_16x8, 4, 16, 8);
  expect_bijection(c_16x8, 4, 16, 8);
  expect_bijection(a_16x32, 16, 16, 32);
  expect_bijection(b_32x8, 8, 32, 8);
  expect_bijection(ldmatrix_8x8, 2, 8, 8);
}

TEST(Fragments, AccumulatorsOfTwoTilesAreTheNextProductsOperand) {
  // P = softmax(S) goes from C's layout to A's without a shuffle: element i of A lies in tile i / 4, element i % 4.
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      Place from = c_16x8(lane, i % 4);
      EXPECT_TRUE(same(a_16x16(lane, i), {from.row, from.column + 8 * (i / 4)}));
    }
  }
}

TEST(Fragments, LdmatrixFillsTheOperandsRegisters) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const int matrix = i / 2;
      Place first = ldmatrix_rows_first(8 * matrix), inside = ldmatrix_8x8(lane, i % 2);
      EXPECT_TRUE(same(a_16x16(lane, i), {first.row + inside.row, first.column + inside.column}));
      // Keys are B's columns: two neighbouring 8-column operands, each of two registers, out of K [16 keys, 16
      // channels].
      Place key = ldmatrix_columns_first(8 * matrix), operand = b_16x8(lane, i % 4);
      EXPECT_TRUE(
          same({operand.column + 8 * (i / 4), operand.row}, {key.row + inside.row, key.column + inside.column}));
      // V [16 keys, 16 channels] is B as it lies, so each matrix is transposed.
      EXPECT_TRUE(
          same({operand.row, operand.column + 8 * (i / 4)}, {first.row + inside.column, first.column + inside.row}));
    }
  }
}

TEST(Fragments, SwizzleIsABijectionWithoutBankConflicts) {
  std::set<int> seen;
  for (int row = 0; row < 64; ++row) {
    for (int chunk = 0; chunk < 16; ++chunk) EXPECT_TRUE(seen.insert(swizzled<16>(row, chunk)).second);
  }
  EXPECT_EQ(*seen.rbegin(), (64 * 16 - 1) * 16);
  for (int chunk = 0; chunk < 16; ++chunk) {
    std::set<int> banks;
    for (int row = 0; row < 8; ++row) banks.insert(swizzled<16>(row, chunk) % 128);
    EXPECT_EQ(banks.size(), 8u);
  }
}

TEST(Fragments, SwizzleOfPairedRowsIsABijectionWithoutBankConflicts) {
  std::set<int> seen;
  for (int row = 0; row < 128; ++row) {
    for (int chunk = 0; chunk < 4; ++chunk) EXPECT_TRUE(seen.insert(swizzled_pairs(row, chunk)).second);
  }
  EXPECT_EQ(*seen.rbegin(), (128 * 4 - 1) * 16);
  for (int first = 0; first < 128; first += 8) {
    for (int chunk = 0; chunk < 4; ++chunk) {
      std::set<int> banks;
      for (int row = first; row < first + 8; ++row) banks.insert(swizzled_pairs(row, chunk) % 128);
      EXPECT_EQ(banks.size(), 8u);
    }
  }
}

TEST(Fragments, LdmatrixFillsTheOperandsOfBytesToo) {
  // A pair of bytes is what ldmatrix moves as one element; i is a byte of A's 16, or of two neighbouring B's 8.
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 16; ++i) {
      const int matrix = i / 4;
      Place inside = ldmatrix_8x8(lane, i / 2 % 2), first = ldmatrix_rows_first(8 * matrix);
      EXPECT_TRUE(same(a_16x32(lane, i), {first.row + inside.row, 2 * (first.column + inside.column) + i % 2}));
      Place chunk = ldmatrix_four_chunks(8 * matrix), deep = b_32x8(lane, i % 8);
      EXPECT_TRUE(same({deep.column, deep.row + 32 * (i / 8)},
                       {chunk.row + inside.row, chunk.column + 2 * inside.column + i % 2}));
      Place key = ldmatrix_columns_first(8 * matrix), operand = b_32x8(lane, i % 8);
      EXPECT_TRUE(same({operand.column + 8 * (i / 8), operand.row},
                       {key.row + inside.row, 2 * (key.column + inside.column) + i % 2}));
    }
  }
}

TEST(Fragments, AccumulatorsAsTheyLieAreALeftOperandOfBytes) {
  std::set<int> columns;
  for (int slot = 0; slot < 32; ++slot) columns.insert(column_of_slot(slot));
  EXPECT_EQ(columns.size(), 32u);
  EXPECT_EQ(*columns.rbegin(), 31);
  // Byte i of a lane's A is packed from tile 2 * (i / 8) + i % 4 / 2, element 2 * (i / 4 % 2) + i % 2.
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 16; ++i) {
      const Place from = c_16x8(lane, 2 * (i / 4 % 2) + i % 2), to = a_16x32(lane, i);
      EXPECT_TRUE(same({from.row, 8 * (2 * (i / 8) + i % 4 / 2) + from.column}, {to.row, column_of_slot(to.column)}));
    }
  }
}

}  // namespace
}  // namespace wan::kernels::fragments
