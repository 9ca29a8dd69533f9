// Hopper's asynchronous instructions: copies by tensor map, barriers in shared memory, products of warpgroups. Only the
// descriptors exist on the host. Source: PTX ISA, "Asynchronous warpgroup level matrix multiply-accumulate".
#pragma once

#include "kernels/simt/simt.h"

namespace wan::simt::sm90 {

/// Threads whose registers hold one 64-row accumulator.
constexpr int kWarpgroup = 128;

/// The descriptor of a K-major tile in shared memory whose rows are 128 bytes, in the 128-byte swizzle that the copy
/// engine writes and fragments::swizzled<8> describes: eight rows every 1024 bytes. `address` is the tile's shared
/// address (1024-byte aligned) plus at most 112 bytes along the rows.
WAN_HOST_DEVICE uint64_t tile_descriptor(uint32_t address) {
  constexpr uint64_t kSwizzle128 = uint64_t(1) << 62, kRowGroup = uint64_t(1024 >> 4) << 32;
  constexpr uint64_t kUnusedLeading = uint64_t(1) << 16;
  return kSwizzle128 | kRowGroup | kUnusedLeading | uint64_t((address & 0x3ffff) >> 4);
}

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
/// True at the end of the phase of this parity, false after a while.
WAN_DEVICE bool barrier_has_ended(uint64_t* barrier, int parity) {
  uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n"
      "}"
      : "=r"(done)
      : "r"(address_of(barrier)), "r"(parity)
      : "memory");
  return done;
}
WAN_DEVICE uint64_t nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}
/// Waits for the end of the phase of this parity; the phase before the first one has ended from the start. A wrong
/// phase would wait for ever: after 20 s the kernel ends with an error instead.
WAN_DEVICE void barrier_wait(uint64_t* barrier, int parity) {
  constexpr uint64_t kPatience = 20'000'000'000;
  if (barrier_has_ended(barrier, parity)) return;
  for (const uint64_t start = nanoseconds(); !barrier_has_ended(barrier, parity);) {
    if (nanoseconds() - start > kPatience) __trap();
  }
}

/// Copies the box of a two-dimensional tensor map that begins at (column, row); zeros outside the tensor.
WAN_DEVICE void copy_box(void* to, const void* map, int column, int row, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          address_of(to)),
      "l"(map), "r"(column), "r"(row), "r"(address_of(barrier))
      : "memory");
}
WAN_DEVICE void prefetch_map(const void* map) {
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

/// Before the first product, and after registers of one were written.
WAN_DEVICE void products_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
WAN_DEVICE void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
WAN_DEVICE void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// Keeps the compiler from reading accumulators before the wait that stands above.
template <int kCount>
WAN_DEVICE void pin_registers(int32_t (&d)[kCount]) {
  WAN_UNROLL
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

// Sixteen operands of an asm statement, and how they are named in it.
#define WAN_D16(i)                                                                                            \
  "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]), "+r"(d[i + 6]), \
      "+r"(d[i + 7]), "+r"(d[i + 8]), "+r"(d[i + 9]), "+r"(d[i + 10]), "+r"(d[i + 11]), "+r"(d[i + 12]),      \
      "+r"(d[i + 13]), "+r"(d[i + 14]), "+r"(d[i + 15])

/// d += a b: 64 rows by 256 columns by 32 bytes of depth, both from shared memory. Element 4 j + i of d is element i of
/// fragments::c_16x8 in the columns from 8 j on; warp w of the warpgroup has the rows from 16 w on.
WAN_DEVICE void multiply_64x256x32_s8(int32_t (&d)[128], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"
      "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
      "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"
      "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, "
      "%128, %129, 1;"
      : WAN_D16(0), WAN_D16(16), WAN_D16(32), WAN_D16(48), WAN_D16(64), WAN_D16(80), WAN_D16(96), WAN_D16(112)
      : "l"(a), "l"(b));
}

#undef WAN_D16

#endif

}  // namespace wan::simt::sm90
