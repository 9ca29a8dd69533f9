// Codes of checkpoints as values: each byte of codes is read once, in pieces of 16 bytes whatever the blocks' size, and
// values are written in pieces of 16 bytes. Memory-bound: codes, scales and values pass once.
#pragma once

#include <algorithm>

#include "kernels/dequantise/butterflies.cuh"
#include "kernels/dequantise/grid_blocks.cuh"
#include "kernels/dequantise/launch.h"
#include "kernels/dequantise/plain_codes.cuh"
#include "kernels/dequantise/small_blocks.cuh"
#include "kernels/dequantise/super_blocks.cuh"
#include "kernels/simt/dispatch.h"

namespace wan::kernels {
namespace widening {

constexpr int kThreads = 256;
constexpr int kChunk = kWidenChunk;
static_assert(kChunk == kThreads * kLaneValues, "all values of a chunk are some thread's");
constexpr int kPiece = 16;  // bytes

template <typename Block>
struct Staged {
  static constexpr int kBytes = kChunk / Block::kElements * Block::kBytes;
  /// Pieces that hold any of these bytes, wherever they begin, and those that a thread takes.
  static constexpr int kPieces = (kBytes + 2 * (kPiece - 1)) / kPiece;
  static constexpr int kSteps = (kPieces + kThreads - 1) / kThreads;
  static constexpr int kShared = kPieces * kPiece + kPiece;
  static_assert(Codes::kPastTheEnd <= kPiece, "room behind the last code");
};

WAN_DEVICE int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/// One piece of the codes, from byte `from` on, of which those before the first byte and behind the last are left out.
WAN_DEVICE simt::Pack<uint8_t, kPiece> piece_of(const uint8_t* codes, int64_t bytes, int64_t from) {
  if (from >= 0 && from + kPiece <= bytes) return *reinterpret_cast<const simt::Pack<uint8_t, kPiece>*>(codes + from);
  simt::Pack<uint8_t, kPiece> piece = {};
  for (int i = 0; i < kPiece; ++i) {
    if (from + i >= 0 && from + i < bytes) piece.at[i] = codes[from + i];
  }
  return piece;
}

/// Copies `count` bytes of the codes, from byte `from` on, to shared memory and returns where the first one lies: as far
/// behind a multiple of 16 as it does in the codes. All threads; they wait for each other.
template <typename Block>
WAN_DEVICE unsigned stage(const WidenArguments& a, int64_t from, int count, unsigned char* shared) {
  using Sizes = Staged<Block>;
  const unsigned shift = unsigned(reinterpret_cast<uintptr_t>(a.codes + from) % kPiece);
  const int pieces = (int(shift) + count + kPiece - 1) / kPiece;
  const int64_t bytes = a.rows * a.row_bytes;
  simt::Pack<uint8_t, kPiece> piece[Sizes::kSteps];
  WAN_UNROLL
  for (int step = 0; step < Sizes::kSteps; ++step) {
    const int i = step * kThreads + int(threadIdx.x);
    if (i < pieces) piece[step] = piece_of(a.codes, bytes, from - int(shift) + kPiece * i);
  }
  WAN_UNROLL
  for (int step = 0; step < Sizes::kSteps; ++step) {
    const int i = step * kThreads + int(threadIdx.x);
    if (i < pieces) reinterpret_cast<simt::Pack<uint8_t, kPiece>*>(shared)[i] = piece[step];
  }
  simt::sync_block();
  return shift;
}

WAN_DEVICE float scale_at(const WidenArguments& a, int64_t i) {
  if (a.scale_element == ScaleElement::Float) return static_cast<const float*>(a.scale)[i];
  const uint32_t code = static_cast<const uint8_t*>(a.scale)[i];
  if (a.scale_element == ScaleElement::E8M0)  // 2^(code - 127)
    return simt::float_of_bits(code == 255 ? 0x7fc00000u : code == 0 ? 0x00400000u : code << 23);
  const uint32_t bits = (code & 0x7f) == 0x7f ? 0x7fc00000u : simt::float_bits(tiny_e4m3(code) * 0x1p120f);
  return simt::float_of_bits(bits | (code & 0x80) << 24);
}

/// x, eight values of row `row` from `column` on, times scale and factor.
WAN_DEVICE void apply_scales(const WidenArguments& a, int64_t row, int64_t column, float* x) {
  if (a.scale) {
    const int64_t first = (a.first_row + row) / a.scale_rows * a.scales_a_row;
    const auto each = unsigned(a.scale_columns);
    float scale = 1;
    WAN_UNROLL
    for (int i = 0; i < 8; ++i) {
      // One for all where scales cover whole eights; what lies behind the row's end is not stored.
      if (i == 0 || each % 8) scale = scale_at(a, first + unsigned(smaller(column + i, a.columns - 1)) / each);
      x[i] = product(x[i], scale);
    }
  }
  WAN_UNROLL
  for (int i = 0; i < 8; ++i) x[i] = product(x[i], a.factor);
}

/// The bits of as many values as 32 bits hold, rounded to nearest, ties to even.
WAN_DEVICE uint32_t word_of(const float* x, simt::Type<float>) {
  return simt::float_bits(x[0]);
}
WAN_DEVICE uint32_t word_of(const float* x, simt::Type<__half>) {
  const __half2 two = __floats2half2_rn(x[0], x[1]);
  uint32_t bits;
  memcpy(&bits, &two, sizeof bits);
  return bits;
}
WAN_DEVICE uint32_t word_of(const float* x, simt::Type<simt::bf16>) {
  const __nv_bfloat162 two = __floats2bfloat162_rn(x[0], x[1]);
  uint32_t bits;
  memcpy(&bits, &two, sizeof bits);
  return bits;
}

/// One store, which the compiler takes apart where it is not told.
WAN_DEVICE void store_piece(void* to, uint4 piece) {
#ifdef __CUDACC__
  __stcg(static_cast<uint4*>(to), piece);
#else
  *static_cast<uint4*>(to) = piece;
#endif
}

/// Eight values to the output, of which `left` are inside the row.
template <typename T>
WAN_DEVICE void store_eight(const WidenArguments& a, int64_t at, int left, const float* x) {
  T* to = static_cast<T*>(a.out) + at;
  if (a.columns % 8 == 0) {
    constexpr int kWord = 4 / sizeof(T);
    WAN_UNROLL
    for (int i = 0; i < 8; i += 4 * kWord) {
      const simt::Type<T> type;
      store_piece(to + i, make_uint4(word_of(x + i, type), word_of(x + i + kWord, type),
                                     word_of(x + i + 2 * kWord, type), word_of(x + i + 3 * kWord, type)));
    }
    return;
  }
  WAN_UNROLL
  for (int i = 0; i < 8; ++i) {
    if (i < left) to[i] = simt::from_float<T>(x[i]);
  }
}

/// Chunk by chunk, row by row: a block of threads for each. Stores are of eights that lie side by side in a warp; with a
/// rotation a lane decodes 16 neighbours, which the last exchange brings into that order.
template <typename Block>
WAN_BOUNDED_KERNEL(kThreads, Staged<Block>::kSteps == 1 ? 5 : 4)
widen_kernel(WidenArguments a) {
  using simt::kWarp;
  constexpr int kGroups = Block::kElements / 8;
  WAN_DYNAMIC_SHARED(shared);
  const auto chunks = unsigned((a.columns + kChunk - 1) / kChunk);
  const int64_t row = blockIdx.x / chunks, column = int64_t(blockIdx.x % chunks) * kChunk;
  const int64_t in_row = column / Block::kElements * Block::kBytes;
  const int count = int(smaller(a.row_bytes - in_row, int64_t(Staged<Block>::kBytes)));
  const int left = int(smaller(a.columns - column, int64_t(kChunk)));
  const unsigned shift = stage<Block>(a, row * a.row_bytes + in_row, count, shared);
  const int lane = int(threadIdx.x % kWarp), first = int(threadIdx.x) / kWarp * (kWarp * 2);  // of the warp's eights
  float x[kLaneValues];
  WAN_UNROLL
  for (int step = 0; step < 2; ++step) {
    const int eight = first + (a.rotation ? 2 * lane + step : kWarp * step + lane);
    WAN_UNROLL
    for (int i = 0; i < 8; ++i) x[8 * step + i] = 0;
    if (8 * eight >= left) continue;
    const Codes block(shared, shift + unsigned(eight / kGroups * Block::kBytes));
    Block::eight(block, eight % kGroups, x + 8 * step);
    apply_scales(a, row, column + 8 * eight, x + 8 * step);
  }
  if (a.rotation) rotate_groups(x, a.rotation, Exchange(reinterpret_cast<float*>(shared + Staged<Block>::kShared)));
  WAN_UNROLL
  for (int step = 0; step < 2; ++step) {
    const int at = 8 * (first + kWarp * step + lane);
    if (at >= left) continue;
    const int64_t to = row * a.columns + column + at;
    if (a.element == Element::Float) store_eight<float>(a, to, left - at, x + 8 * step);
    if (a.element == Element::Half) store_eight<__half>(a, to, left - at, x + 8 * step);
    if (a.element == Element::BFloat16) store_eight<simt::bf16>(a, to, left - at, x + 8 * step);
  }
}

/// choose(Type<Block>) for the decoder of a code.
template <typename Choose>
auto with_block(Code code, Choose choose) {
  using simt::Type;
  switch (code) {
#define WAN_BLOCK(name) \
  case Code::name:      \
    return choose(Type<name>{});
    WAN_BLOCK(E4M3)
    WAN_BLOCK(E5M2)
    WAN_BLOCK(Int8)
    WAN_BLOCK(E2M1)
    WAN_BLOCK(E2M1Swapped)
    WAN_BLOCK(Q4_0)
    WAN_BLOCK(Q4_1)
    WAN_BLOCK(Q5_0)
    WAN_BLOCK(Q5_1)
    WAN_BLOCK(Q8_0)
    WAN_BLOCK(Q2_K)
    WAN_BLOCK(Q3_K)
    WAN_BLOCK(Q4_K)
    WAN_BLOCK(Q5_K)
    WAN_BLOCK(Q6_K)
    WAN_BLOCK(IQ2_XXS)
    WAN_BLOCK(IQ2_XS)
    WAN_BLOCK(IQ2_S)
    WAN_BLOCK(IQ3_XXS)
    WAN_BLOCK(IQ3_S)
    WAN_BLOCK(IQ1_S)
    WAN_BLOCK(IQ1_M)
    WAN_BLOCK(IQ4_NL)
    WAN_BLOCK(IQ4_XS)
    WAN_BLOCK(TQ1_0)
    WAN_BLOCK(TQ2_0)
    WAN_BLOCK(MXFP4)
    default:
      WAN_BLOCK(NVFP4)
#undef WAN_BLOCK
  }
}

/// Blocks of threads for these rows.
inline int64_t chunks_of(const WidenArguments& a) {
  return a.rows * ((a.columns + kChunk - 1) / kChunk);
}

}  // namespace widening

template <typename Run>
cudaError_t run_widen(WidenArguments a, Code code, Run run) {
  if (!a.scale) {  // rows are told apart by their scales alone
    a.columns *= a.rows;
    a.row_bytes *= a.rows;
    a.rows = 1;
  }
  // Both cover whole rows, and the kernel divides in 32 bits.
  a.scale_columns = std::min(a.scale_columns, (a.columns + 7) / 8 * 8);
  return widening::with_block(code, [&](auto type) {
    using Block = typename decltype(type)::type;
    constexpr int kWarps = widening::kThreads / simt::kWarp;
    const int exchange = a.rotation ? kWarps * widening::Exchange::kWarpFloats * int(sizeof(float)) : 0;
    return run(dim3(unsigned(widening::chunks_of(a))), widening::kThreads, widening::Staged<Block>::kShared + exchange,
               widening::widen_kernel<Block>, a);
  });
}

}  // namespace wan::kernels
