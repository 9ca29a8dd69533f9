// Hopper's asynchronous instructions: copies by tensor map, barriers in shared memory, products of warpgroups; and
// their emulation for the tests (sm90_host.h). Source: PTX ISA, "Asynchronous warpgroup level matrix
// multiply-accumulate".
#pragma once

#include <cstring>

#include "kernels/op/fragments.h"
#include "kernels/simt/simt.h"

namespace wan::simt::sm90 {

/// Threads whose registers hold one 64-row accumulator.
constexpr int kWarpgroup = 128;

/// How 16-byte chunks are permuted in shared memory by the copy engine, and read back by a product: as
/// fragments::swizzled<8> in rows of 128 bytes, as fragments::swizzled_pairs in rows of 64.
enum class Swizzle { Bytes64, Bytes128 };
WAN_HOST_DEVICE int swizzle_bytes(Swizzle swizzle) {
  return swizzle == Swizzle::Bytes64 ? 64 : 128;
}

/// A tensor of up to four dimensions that the copy engine reads, the first one contiguous. `stride` in bytes, multiples
/// of 16, each a multiple of the one before; a box has at most 256 elements a side, and `swizzle` bytes in its first.
struct TensorView {
  static constexpr int kMaxRank = 4;
  const void* data;
  int rank, element_bytes;
  int64_t size[kMaxRank], stride[kMaxRank];  // stride[0] is element_bytes
  int box[kMaxRank];
  Swizzle swizzle;
};

#ifdef __CUDACC__
constexpr int kMapAlignment = 128;
#else
constexpr int kMapAlignment = 16;  // what the host's calling convention gives to arguments
#endif
/// What a kernel gets of it (cuda.h: CUtensorMap) as plain bytes; made by tensor_map.cuh, on the host by HostMaps.
struct alignas(kMapAlignment) TensorMap {
  unsigned char bytes[128];
};

/// The descriptor of a tile whose rows of 128 or 64 bytes lie along the products' depth ("K-major"), swizzled: eight
/// rows lie together, the next eight behind them. `address` is the tile's shared address (1024-byte aligned) plus at
/// most a row less 32 bytes along the rows.
WAN_HOST_DEVICE uint64_t tile_descriptor(uint32_t address, Swizzle swizzle = Swizzle::Bytes128) {
  const uint64_t kind = swizzle == Swizzle::Bytes128 ? 1 : 2, eight_rows = uint64_t(8 * swizzle_bytes(swizzle) >> 4);
  constexpr uint64_t kUnusedLeading = uint64_t(1) << 16;
  return kind << 62 | eight_rows << 32 | kUnusedLeading | uint64_t((address & 0x3ffff) >> 4);
}

/// The descriptor of a tile of 16-bit elements whose rows of 128 bytes lie along the columns of the product
/// ("MN-major"): a row for each step of depth, in the 128-byte swizzle. Columns from 64 on lie `next_columns` bytes
/// further.
WAN_HOST_DEVICE uint64_t turned_tile_descriptor(uint32_t address, int next_columns) {
  return tile_descriptor(address) + ((uint64_t(next_columns >> 4) - 1) << 16);
}

/// Where a block is in its ring of stages.
template <int kStages>
struct Ring {
  int stage = 0, parity = 0;
  WAN_DEVICE void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

#ifdef __CUDACC__

WAN_DEVICE uint32_t address_of(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// A barrier flips its phase when its count of arrivals and the bytes it expects are there.

WAN_DEVICE void barrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address_of(barrier)), "r"(arrivals) : "memory");
}
/// Makes the initialisation visible to the copy engine; a block barrier must follow.
WAN_DEVICE void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
WAN_DEVICE void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address_of(barrier)) : "memory");
}
/// Arrives, and lets the phase wait for this many copied bytes.
WAN_DEVICE void barrier_expect(uint64_t* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address_of(barrier)), "r"(bytes)
               : "memory");
}
/// Waits for the end of the phase of this parity; the phase before the first one has ended from the start. A wrong
/// phase would wait for ever: after 20 s the kernel ends with an error instead. One statement, whose trap is no branch:
/// at a branch that leaves the kernel ptxas serialises the products around it (kernels/README.md).
WAN_DEVICE void barrier_wait(uint64_t* barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred done, late;\n"
      ".reg .u64 start, now;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra ended;\n"
      "mov.u64 start, %%globaltimer;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra ended;\n"
      "mov.u64 now, %%globaltimer;\n"
      "sub.u64 now, now, start;\n"
      "setp.gt.u64 late, now, 20000000000;\n"
      "@late trap;\n"
      "bra again;\n"
      "ended:\n"
      "}" ::"r"(address_of(barrier)),
      "r"(parity)
      : "memory");
}

/// Copies the box of a tensor map that begins at this element; zeros outside the tensor.
WAN_DEVICE void copy_box(void* to, const TensorMap* map, const int (&at)[2], uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          address_of(to)),
      "l"(map), "r"(at[0]), "r"(at[1]), "r"(address_of(barrier))
      : "memory");
}
WAN_DEVICE void copy_box(void* to, const TensorMap* map, const int (&at)[4], uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], "
      "[%6];" ::"r"(address_of(to)),
      "l"(map), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(address_of(barrier))
      : "memory");
}
WAN_DEVICE void prefetch_map(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/// Hands registers back to, or takes them from, the block's pool; by all warps of a warpgroup.
template <int kRegisters>
WAN_DEVICE void keep_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
WAN_DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// Whether `mine` is true in all threads of a warpgroup, by all of them; `barrier`, from 1 to 15, is no other
/// warpgroup's.
WAN_DEVICE bool all_of_warpgroup(bool mine, int barrier) {
  int all;
  asm volatile(
      "{\n"
      ".reg .pred own, agreed;\n"
      "setp.ne.s32 own, %1, 0;\n"
      "bar.red.and.pred agreed, %2, 128, own;\n"
      "selp.s32 %0, 1, 0, agreed;\n"
      "}"
      : "=r"(all)
      : "r"(int(mine)), "r"(barrier)
      : "memory");
  return all != 0;
}

/// Before the first product, and after registers of one were written.
WAN_DEVICE void products_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
WAN_DEVICE void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most kPending groups of this warp are under way.
template <int kPending>
WAN_DEVICE void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// Keeps the compiler from reading accumulators before the wait that stands above.
template <int kTiles>
WAN_DEVICE void pin_registers(int32_t (&d)[kTiles][4]) {
  WAN_UNROLL
  for (int i = 0; i < 4 * kTiles; ++i) asm volatile("" : "+r"(d[i / 4][i % 4])::"memory");
}
template <int kTiles>
WAN_DEVICE void pin_registers(float (&d)[kTiles][4]) {
  WAN_UNROLL
  for (int i = 0; i < 4 * kTiles; ++i) asm volatile("" : "+f"(d[i / 4][i % 4])::"memory");
}

// Accumulators: element i of tile j of d is element i of fragments::c_16x8 in the columns from 8 j on; warp w of the
// warpgroup has the rows from 16 w on. Below: 16 of them as operands of an asm statement, and how 64 are named in it.
#define WAN_D4(kind, j) kind(d[j][0]), kind(d[j][1]), kind(d[j][2]), kind(d[j][3])
#define WAN_D16(kind, j) WAN_D4(kind, j), WAN_D4(kind, j + 1), WAN_D4(kind, j + 2), WAN_D4(kind, j + 3)
#define WAN_D64(kind, j) WAN_D16(kind, j), WAN_D16(kind, j + 4), WAN_D16(kind, j + 8), WAN_D16(kind, j + 12)
#define WAN_NAMES_0_63                                               \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"           \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define WAN_NAMES_64_127                                                         \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"             \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"             \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

/// d += a b: 64 rows by 256 columns by 32 bytes of depth, both from shared memory.
WAN_DEVICE void multiply_64x256x32_s8(int32_t (&d)[32][4], uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 {" WAN_NAMES_0_63 "," WAN_NAMES_64_127
               "}, %128, %129, 1;"
               : WAN_D64("+r", 0), WAN_D64("+r", 16)
               : "l"(a), "l"(b));
}

/// d += a b: 64 rows by 128 columns by 32 bytes of depth, both from shared memory.
WAN_DEVICE void multiply_64x128x32_s8(int32_t (&d)[16][4], uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {" WAN_NAMES_0_63 "}, %64, %65, 1;"
               : WAN_D64("+r", 0)
               : "l"(a), "l"(b));
}

/// d += a b with 16-bit elements, 64 x 128 x 16, or d = a b where kFresh; both from shared memory, along the depth.
template <typename T, bool kFresh>
WAN_DEVICE void multiply_64x128x16(float (&d)[16][4], uint64_t a, uint64_t b) {
#define WAN_MULTIPLY(type, kind, keep)                                                                               \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" WAN_NAMES_0_63 "}, %64, %65, " keep \
               ", 1, 1, 0, 0;"                                                                                       \
               : WAN_D64(kind, 0)                                                                                    \
               : "l"(a), "l"(b))
  if constexpr (std::is_same_v<T, bf16> && kFresh)
    WAN_MULTIPLY("bf16", "=f", "0");
  else if constexpr (std::is_same_v<T, bf16>)
    WAN_MULTIPLY("bf16", "+f", "1");
  else if constexpr (kFresh)
    WAN_MULTIPLY("f16", "=f", "0");
  else
    WAN_MULTIPLY("f16", "+f", "1");
#undef WAN_MULTIPLY
}

/// d += a b with 16-bit elements, 64 x 128 x 16: a from registers (fragments::a_16x16 of each warp's 16 rows), b a
/// turned tile.
template <typename T>
WAN_DEVICE void multiply_64x128x16_turned(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
#define WAN_MULTIPLY(type)                                                                      \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" WAN_NAMES_0_63 \
               "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;"                                         \
               : WAN_D64("+f", 0)                                                               \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
  if constexpr (std::is_same_v<T, bf16>)
    WAN_MULTIPLY("bf16");
  else
    WAN_MULTIPLY("f16");
#undef WAN_MULTIPLY
}

/// d += a b with e4m3, 64 x 128 x 32, or d = a b where kFresh; a from registers (fragments::a_16x32 of each warp's 16
/// rows). The sum inside has about 14 bits.
template <bool kFresh>
WAN_DEVICE void multiply_64x128x32_e4m3(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
#define WAN_MULTIPLY(kind, keep)                                                        \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" WAN_NAMES_0_63 \
               "}, {%64,%65,%66,%67}, %68, " keep ", 1, 1;"                             \
               : WAN_D64(kind, 0)                                                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
  if constexpr (kFresh)
    WAN_MULTIPLY("=f", "0");
  else
    WAN_MULTIPLY("+f", "1");
#undef WAN_MULTIPLY
}

#undef WAN_D4
#undef WAN_D16
#undef WAN_D64
#undef WAN_NAMES_0_63
#undef WAN_NAMES_64_127

#endif

}  // namespace wan::simt::sm90

#ifndef __CUDACC__
#include "kernels/simt/emulator/sm90_host.h"
#endif
