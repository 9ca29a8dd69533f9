// Where the elements of a matrix instruction's operands lie, and how tiles are swizzled in shared memory.
// Source: PTX ISA, "Matrix fragments for mma.m16n8k16 / mma.m16n8k32" and "ldmatrix".
#pragma once

#include "kernels/simt/simt.h"

namespace wan::kernels::fragments {

struct Place {
  int row, column;
};

/// mma.m16n8k16, 16-bit: A [16 rows, 16 k], element i of 8 (two in each register).
WAN_HOST_DEVICE Place a_16x16(int lane, int i) {
  return {lane / 4 + 8 * (i / 2 % 2), 2 * (lane % 4) + i % 2 + 8 * (i / 4)};
}
/// B [16 k, 8 columns], element i of 4.
WAN_HOST_DEVICE Place b_16x8(int lane, int i) {
  return {2 * (lane % 4) + i % 2 + 8 * (i / 2), lane / 4};
}
/// C and D [16 rows, 8 columns], element i of 4; the same for every k.
WAN_HOST_DEVICE Place c_16x8(int lane, int i) {
  return {lane / 4 + 8 * (i / 2), 2 * (lane % 4) + i % 2};
}

/// mma.m16n8k32, 8-bit: A [16 rows, 32 k], element i of 16 (four in each register).
WAN_HOST_DEVICE Place a_16x32(int lane, int i) {
  return {lane / 4 + 8 * (i / 4 % 2), 4 * (lane % 4) + i % 4 + 16 * (i / 8)};
}
/// B [32 k, 8 columns], element i of 8.
WAN_HOST_DEVICE Place b_32x8(int lane, int i) {
  return {4 * (lane % 4) + i % 4 + 16 * (i / 4), lane / 4};
}

/// The accumulators of four neighbouring 16x8 tiles, packed to bytes as they lie in a lane, are A of m16n8k32 with its
/// columns in another order: column `slot` of A is this one of the tiles' 32. B has its rows in the same order.
WAN_HOST_DEVICE int column_of_slot(int slot) {
  return 16 * (slot / 16) + 8 * (slot % 4 / 2) + 2 * (slot % 16 / 4) + slot % 2;
}

/// ldmatrix: of each 8x8 matrix a lane receives two elements, i of 2; with .trans the transposed place.
WAN_HOST_DEVICE Place ldmatrix_8x8(int lane, int i) {
  return {lane / 4, 2 * (lane % 4) + i};
}

/// ldmatrix.x4: lane supplies the address of row `lane % 8` of matrix `lane / 8`. The four matrices of a 16x16 tile in
/// the order of A's registers: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15. The place is that row's first
/// element.
WAN_HOST_DEVICE Place ldmatrix_rows_first(int lane) {
  return {lane % 16, 8 * (lane / 16)};
}
/// The same with columns first: rows 0-7 of columns 0-7 and 8-15, then rows 8-15.
WAN_HOST_DEVICE Place ldmatrix_columns_first(int lane) {
  return {lane % 8 + 8 * (lane / 16), 8 * (lane / 8 % 2)};
}

/// Eight rows of 64 bytes, whose four chunks are the matrices: two right operands of bytes, one behind the other in k.
/// The place is in bytes.
WAN_HOST_DEVICE Place ldmatrix_four_chunks(int lane) {
  return {lane % 8, 16 * (lane / 8)};
}

/// A tile in shared memory with rows of kChunks 16-byte chunks, kChunks >= 8: the chunk's place is XORed with the row,
/// so that eight rows of one column of chunks lie in eight different bank groups. Returns bytes from the tile's begin.
template <int kChunks>
WAN_HOST_DEVICE int swizzled(int row, int chunk) {
  static_assert(kChunks % 8 == 0, "a row holds a multiple of 128 bytes");
  return (row * kChunks + (chunk ^ (row % 8))) * 16;
}

/// A tile with rows of four chunks: two rows share 128 bytes, so the chunk is XORed with the number of the pair.
WAN_HOST_DEVICE int swizzled_pairs(int row, int chunk) {
  return (row * 4 + (chunk ^ (row / 2 % 4))) * 16;
}

}  // namespace wan::kernels::fragments
