// Matrix and asynchronous-copy instructions of sm_80 and newer, and their emulation for the tests.
#pragma once

#include <type_traits>

#include "kernels/op/fragments.h"
#include "kernels/simt/simt.h"

namespace wan::simt {

/// Two floats to one register of 16-bit elements; `low` is the element of the lower index.
template <typename T>
WAN_DEVICE uint32_t pack_halves(float low, float high) {
  const Pack<T, 2> pair = {{from_float<T>(low), from_float<T>(high)}};
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

#ifdef __CUDACC__

WAN_DEVICE uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// d += a b: mma.sync m16n8k16 with T operands and float32 accumulators (layouts: fragments.h).
template <typename T>
WAN_DEVICE void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, bf16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    static_assert(std::is_same_v<T, __half>, "bf16 or half");
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

/// d += a b: mma.sync m16n8k32, signed bytes, exact int32 accumulators.
WAN_DEVICE void mma_16x8x32_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8x8 matrices of 16-bit elements from shared memory; `row` is this lane's row of 16 bytes (fragments.h).
WAN_DEVICE void ldmatrix_x4(uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}
/// The same, each matrix transposed.
WAN_DEVICE void ldmatrix_x4_transposed(uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Begins a copy of 16 bytes into shared memory; zeros where `inside` is false (then `from` is not read).
WAN_DEVICE void copy_async_16(void* to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(inside ? 16 : 0)
               : "memory");
}
/// Closes a group of copies.
WAN_DEVICE void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most kPending groups of this thread are under way. A barrier makes them visible to the others.
template <int kPending>
WAN_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#else

/// The lanes' registers of one matrix instruction.
template <typename Accumulator>
struct MmaLane {
  Accumulator* d;
  const uint32_t *a, *b;
};

/// The product of a 16 x k by a k x 8 matrix whose elements of type T lie in registers as the maps `a_at`, `b_at` say.
template <typename T, int kDepth, typename Sum, typename Accumulator, typename AMap, typename BMap>
void emulate_mma(std::array<MmaLane<Accumulator>*, 32>& lanes, AMap a_at, BMap b_at) {
  Sum a[16][kDepth], b[kDepth][8];
  auto element = [](const uint32_t* registers, int i) {
    T value;
    std::memcpy(&value, reinterpret_cast<const char*>(registers) + i * sizeof(T), sizeof(T));
    if constexpr (std::is_integral_v<T>)
      return Sum(value);
    else
      return Sum(to_float(value));
  };
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < kDepth / 2; ++i) a[a_at(lane, i).row][a_at(lane, i).column] = element(lanes[lane]->a, i);
    for (int i = 0; i < kDepth / 4; ++i) b[b_at(lane, i).row][b_at(lane, i).column] = element(lanes[lane]->b, i);
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const auto [row, column] = kernels::fragments::c_16x8(lane, i);
      Sum sum = lanes[lane]->d[i];
      for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[k][column];
      lanes[lane]->d[i] = Accumulator(sum);
    }
  }
}

template <typename T>
void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                 std::source_location place = std::source_location::current()) {
  MmaLane<float> lane{d, a, b};
  warp_collective(
      "mma_16x8x16", lane,
      [](auto& lanes) { emulate_mma<T, 16, double>(lanes, kernels::fragments::a_16x16, kernels::fragments::b_16x8); },
      place);
}

inline void mma_16x8x32_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                           std::source_location place = std::source_location::current()) {
  MmaLane<int32_t> lane{d, a, b};
  warp_collective(
      "mma_16x8x32_s8", lane,
      [](auto& lanes) {
        emulate_mma<int8_t, 32, int32_t>(lanes, kernels::fragments::a_16x32, kernels::fragments::b_32x8);
      },
      place);
}

struct LdmatrixLane {
  uint32_t* to;
  const void* row;
};

inline void emulate_ldmatrix(std::array<LdmatrixLane*, 32>& lanes, bool transposed) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t tile[8][8];
    for (int row = 0; row < 8; ++row) std::memcpy(tile[row], lanes[8 * matrix + row]->row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      uint16_t pair[2];
      for (int i = 0; i < 2; ++i) {
        const auto [row, column] = kernels::fragments::ldmatrix_8x8(lane, i);
        pair[i] = transposed ? tile[column][row] : tile[row][column];
      }
      std::memcpy(&lanes[lane]->to[matrix], pair, 4);
    }
  }
}

inline void ldmatrix_x4(uint32_t (&to)[4], const void* row,
                        std::source_location place = std::source_location::current()) {
  LdmatrixLane lane{to, row};
  warp_collective(
      "ldmatrix_x4", lane, [](auto& lanes) { emulate_ldmatrix(lanes, false); }, place);
}
inline void ldmatrix_x4_transposed(uint32_t (&to)[4], const void* row,
                                   std::source_location place = std::source_location::current()) {
  LdmatrixLane lane{to, row};
  warp_collective(
      "ldmatrix_x4_transposed", lane, [](auto& lanes) { emulate_ldmatrix(lanes, true); }, place);
}

inline void copy_async_16(void* to, const void* from, bool inside) {
  if (reinterpret_cast<uintptr_t>(to) % 16 || (inside && reinterpret_cast<uintptr_t>(from) % 16)) {
    throw std::logic_error("[simt] copy_async_16 wants addresses that are multiples of 16");
  }
  const PendingCopy copy = {to, inside ? from : nullptr, 16};
  if (running_block().order() != Order::Forward)
    copy.perform();
  else
    running_block().fiber().open_copies.push_back(copy);
}
inline void copy_async_commit() {
  Fiber& fiber = running_block().fiber();
  fiber.copy_groups.push_back(std::move(fiber.open_copies));
  fiber.open_copies.clear();
}
template <int kPending>
void copy_async_wait() {
  auto& groups = running_block().fiber().copy_groups;
  for (; groups.size() > kPending; groups.pop_front()) {
    for (const PendingCopy& copy : groups.front()) copy.perform();
  }
}

#endif

}  // namespace wan::simt
