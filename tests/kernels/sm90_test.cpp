// The emulation of Hopper's asynchronous instructions: what it computes, and that it reports what a GPU would hide.
#include "kernels/simt/sm90.h"

#include <cmath>
#include <functional>

#include "kernels/simt/dispatch.h"
#include "tests/support.h"

namespace wan::simt::sm90 {
namespace {

constexpr Order kOrders[] = {Order::Forward, Order::Reverse, Order::Shuffled};

std::string message_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "";
}

TensorMap map_of(const TensorView& view) {
  TensorMap map;
  EXPECT_EQ(HostMaps{}(map, view), cudaSuccess);
  return map;
}

/// A matrix of bytes in boxes of `rows` by a swizzled row.
TensorView bytes_view(const at::Tensor& x, int rows, Swizzle swizzle) {
  return {x.const_data_ptr(), 2, 1, {x.size(1), x.size(0)}, {1, x.size(1)}, {swizzle_bytes(swizzle), rows}, swizzle};
}

/// The first byte of dynamic shared memory at which a tile may begin.
unsigned char* aligned(unsigned char* raw) {
  return raw + (-address_of(raw) & 1023);
}

TEST(Sm90, DescriptorsHaveTheFieldsOfTheirLayout) {
  // Bits 0-13 the address, 16-29 the leading offset, 32-45 the stride from eight rows to the next, all in 16 bytes;
  // 62-63 the swizzle: 1 for 128 bytes, 2 for 64.
  static_assert(tile_descriptor(0x2420) == (uint64_t(1) << 62 | uint64_t(64) << 32 | 1 << 16 | 0x242));
  static_assert(tile_descriptor(0x400, Swizzle::Bytes64) == (uint64_t(2) << 62 | uint64_t(32) << 32 | 1 << 16 | 0x40));
  static_assert(turned_tile_descriptor(0x400, 16384) == (uint64_t(1) << 62 | uint64_t(64) << 32 | 1024 << 16 | 0x40));
}

TEST(Sm90, BoxesArriveSwizzledWithZerosOutside) {
  at::manual_seed(1);
  const at::Tensor wide = at::randint(1, 127, {20, 256}, at::kChar), narrow = at::randint(1, 127, {20, 64}, at::kChar);
  for (Order order : kOrders) {
    for (Swizzle swizzle : {Swizzle::Bytes128, Swizzle::Bytes64}) {
      const at::Tensor& x = swizzle == Swizzle::Bytes128 ? wide : narrow;
      const TensorMap map = map_of(bytes_view(x, 8, swizzle));
      const int width = swizzle_bytes(swizzle), column = swizzle == Swizzle::Bytes128 ? 128 : 0;
      launch(
          1, 32, 4096,
          [&] {
            WAN_DYNAMIC_SHARED(raw);
            unsigned char* tile = aligned(raw);
            auto* barrier = reinterpret_cast<uint64_t*>(tile + 1024);
            if (threadIdx.x != 0) return;
            barrier_init(barrier, 1);
            barrier_expect(barrier, 8 * width);
            copy_box(tile, &map, {column, 16}, barrier);
            barrier_wait(barrier, 0);
            for (int row = 0; row < 8; ++row) {
              for (int i = 0; i < width; ++i) {
                const int at = (width == 128 ? kernels::fragments::swizzled<8>(row, i / 16)
                                             : kernels::fragments::swizzled_pairs(row, i / 16)) +
                               i % 16;
                EXPECT_EQ(int8_t(tile[at]), 16 + row < 20 ? x[16 + row][column + i].item<int8_t>() : 0);
              }
            }
          },
          order);
    }
  }
}

TEST(Sm90, MapsKeepTheDriversRules) {
  const at::Tensor x = at::zeros({20, 256}, at::kChar);
  const TensorView right = bytes_view(x, 8, Swizzle::Bytes128);
  TensorMap map;
  auto refuses = [&](auto change) {
    TensorView view = right;
    change(view);
    return HostMaps{}(map, view) != cudaSuccess;
  };
  EXPECT_FALSE(refuses([](TensorView&) {}));
  EXPECT_TRUE(refuses([](TensorView& v) { v.stride[1] = 264; }));
  EXPECT_TRUE(refuses([](TensorView& v) { v.stride[1] = 128; }));  // rows that overlap
  EXPECT_TRUE(refuses([](TensorView& v) { v.box[0] = 64; }));
  EXPECT_TRUE(refuses([](TensorView& v) { v.box[1] = 257; }));
  EXPECT_TRUE(refuses([](TensorView& v) { v.data = static_cast<const char*>(v.data) + 8; }));
}

/// A producer that hands eight numbers through a ring of two stages to a consumer warp.
std::vector<int> through_a_ring(Order order, bool waits_for_data, bool waits_for_room, int first_parity = 0) {
  const at::Tensor x = at::arange(8, at::kChar).view({8, 1}).expand({8, 128}).contiguous();
  const TensorMap map = map_of(bytes_view(x, 1, Swizzle::Bytes128));
  std::vector<int> seen;
  launch(
      1, 64, 8192,
      [&] {
        WAN_DYNAMIC_SHARED(raw);
        unsigned char* tiles = aligned(raw);
        auto* full = reinterpret_cast<uint64_t*>(tiles + 2048);
        uint64_t* empty = full + 2;
        if (threadIdx.x == 0) {
          for (int i = 0; i < 2; ++i) {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], 1);
          }
        }
        sync_block();
        Ring<2> ring;
        if (threadIdx.x == 0) {
          for (int i = 0; i < 8; ++i, ring.advance()) {
            if (waits_for_room) barrier_wait(&empty[ring.stage], ring.parity ^ 1);
            barrier_expect(&full[ring.stage], 128);
            copy_box(tiles + 1024 * ring.stage, &map, {0, i}, &full[ring.stage]);
          }
        } else if (threadIdx.x == 32) {
          for (int i = 0; i < 8; ++i, ring.advance()) {
            if (waits_for_data) barrier_wait(&full[ring.stage], ring.parity ^ first_parity);
            seen.push_back(int8_t(tiles[1024 * ring.stage]));
            barrier_arrive(&empty[ring.stage]);
          }
        }
      },
      order);
  return seen;
}

TEST(Sm90, ARingHandsOverInOrderAndAMissingWaitShows) {
  const std::vector<int> numbers = {0, 1, 2, 3, 4, 5, 6, 7};
  for (Order order : kOrders) EXPECT_EQ(through_a_ring(order, true, true), numbers);
  // Wrong numbers, or a phase that never comes.
  auto shows = [&](Order order, bool waits_for_data, bool waits_for_room, int first_parity) {
    std::vector<int> seen;
    return message_of([&] { seen = through_a_ring(order, waits_for_data, waits_for_room, first_parity); }) != "" ||
           seen != numbers;
  };
  EXPECT_TRUE(shows(Order::Forward, false, true, 0));
  EXPECT_TRUE(shows(Order::Reverse, true, false, 0));
  EXPECT_TRUE(shows(Order::Forward, true, true, 1));
}

TEST(Sm90, BarriersReportWhatTheyCannotCount) {
  auto with_barrier = [](auto use) {
    return message_of([&] {
      launch(1, 32, 2048, [&] {
        WAN_DYNAMIC_SHARED(raw);
        if (threadIdx.x == 0) use(reinterpret_cast<uint64_t*>(raw));
      });
    });
  };
  EXPECT_NE(with_barrier([](uint64_t* barrier) { barrier_arrive(barrier); }).find("before barrier_init"),
            std::string::npos);
  const std::string stuck = with_barrier([](uint64_t* barrier) {
    barrier_init(barrier, 1);
    barrier_wait(barrier, 0);
  });
  EXPECT_NE(stuck.find("wait for ever"), std::string::npos) << stuck;
  EXPECT_NE(stuck.find("a barrier's phase"), std::string::npos) << stuck;
}

TEST(Sm90, AWarpgroupAgreesOnlyTogether) {
  for (Order order : kOrders) {
    // Two groups with a barrier of their own, four votes in a row; another thread of the first group votes no in each.
    std::vector<int> all(2 * kWarpgroup * 4);
    launch(
        1, 2 * kWarpgroup, 0,
        [&] {
          const unsigned thread = threadIdx.x, group = thread / kWarpgroup;
          for (unsigned vote = 0; vote < 4; ++vote)
            all[thread * 4 + vote] = all_of_warpgroup(group == 1 || vote == 3 || thread != 40 * vote, 1 + int(group));
        },
        order);
    for (unsigned thread = 0; thread < 2 * kWarpgroup; ++thread)
      for (unsigned vote = 0; vote < 4; ++vote)
        EXPECT_EQ(all[thread * 4 + vote], int(thread >= kWarpgroup || vote == 3)) << thread << ", vote " << vote;
  }
  EXPECT_NE(message_of([] {
              launch(1, kWarpgroup, 0, [] {
                if (threadIdx.x != 5) all_of_warpgroup(true, 1);
              });
            }).find("a warpgroup's vote"),
            std::string::npos);
}

// --- products of one warpgroup

constexpr int kDynamic = 64 << 10;

/// Copies a matrix of bytes [rows, 128] or [rows, 64] into a swizzled tile.
void fill_tile(unsigned char* tile, const at::Tensor& x, Swizzle swizzle) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < int(x.nbytes()); ++i)
      *pointer_to(swizzled_address(address_of(tile) + i, swizzle), 1) =
          static_cast<const unsigned char*>(x.const_data_ptr())[i];
  }
  sync_block();
}

template <typename Accumulator, int kTiles>
void store(const at::Tensor& out, const Accumulator (&d)[kTiles][4]) {
  for (int i = 0; i < 4 * kTiles; ++i) {
    const auto [row, column] = kernels::fragments::c_16x8(threadIdx.x % 32, i % 4);
    out.mutable_data_ptr<Accumulator>()[(threadIdx.x / 32 * 16 + row) * 8 * kTiles + i / 4 * 8 + column] =
        d[i / 4][i % 4];
  }
}

/// Registers of the left operand from a matrix [64, depth].
template <typename T, int kDepth, typename Map>
void load_left(uint32_t (&a)[4], const at::Tensor& x, Map place_of) {
  T elements[kDepth / 2];
  for (int i = 0; i < kDepth / 2; ++i) {
    const auto [row, column] = place_of(threadIdx.x % 32, i);
    elements[i] = T(x.const_data_ptr<float>()[(threadIdx.x / 32 * 16 + row) * kDepth + column]);
  }
  std::memcpy(a, elements, sizeof a);
}

TEST(Sm90, ProductsOfBytesAreExact) {
  at::manual_seed(2);
  const at::Tensor a = at::randint(-128, 128, {64, 128}, at::kChar), b = at::randint(-128, 128, {256, 128}, at::kChar);
  for (Order order : kOrders) {
    at::Tensor wide = at::zeros({64, 256}, at::kInt), narrow = at::zeros({64, 128}, at::kInt);
    launch(
        1, kWarpgroup, kDynamic,
        [&] {
          WAN_DYNAMIC_SHARED(raw);
          unsigned char *left = aligned(raw), *right = left + 64 * 128;
          fill_tile(left, a, Swizzle::Bytes128);
          fill_tile(right, b, Swizzle::Bytes128);
          int32_t sums[32][4], few[16][4];
          for (auto& tile : sums) std::fill_n(tile, 4, 5);
          for (auto& tile : few) std::fill_n(tile, 4, -5);
          products_fence();
          for (int step = 0; step < 4; ++step) {
            const uint64_t one = tile_descriptor(address_of(left) + 32 * step);
            const uint64_t other = tile_descriptor(address_of(right) + 32 * step);
            multiply_64x256x32_s8(sums, one, other);
            multiply_64x128x32_s8(few, one, other);
          }
          products_commit();
          EXPECT_EQ(sums[0][0] == 5, order != Order::Forward);  // not there before the wait
          products_wait<0>();
          store(wide, sums);
          store(narrow, few);
        },
        order);
    const at::Tensor want = at::matmul(a.to(at::kInt), b.to(at::kInt).t());
    EXPECT_TRUE(wide.equal(want + 5));
    EXPECT_TRUE(narrow.equal(want.narrow(1, 0, 128) - 5));
  }
}

template <typename T>
void expect_turned_product(at::ScalarType dtype) {
  // 16 keys by 128 channels, in two boxes of 64 channels.
  const at::Tensor a = at::randint(-4, 5, {64, 16}, at::kFloat), b = at::randint(-4, 5, {16, 128}, at::kFloat);
  for (Order order : kOrders) {
    at::Tensor out = at::zeros({64, 128});
    launch(
        1, kWarpgroup, kDynamic,
        [&] {
          WAN_DYNAMIC_SHARED(raw);
          unsigned char* tile = aligned(raw);
          constexpr int kBox = 16 * 128;
          for (int half = 0; half < 2; ++half)
            fill_tile(tile + half * kBox, b.narrow(1, 64 * half, 64).to(dtype).contiguous(), Swizzle::Bytes128);
          uint32_t left[4];
          load_left<T, 16>(left, a, kernels::fragments::a_16x16);
          float sums[16][4] = {};
          products_fence();
          multiply_64x128x16_turned<T>(sums, left, turned_tile_descriptor(address_of(tile), kBox));
          products_commit();
          products_wait<0>();
          store(out, sums);
        },
        order);
    EXPECT_TRUE(is_close(out, at::matmul(a, b), 0));
  }
}

TEST(Sm90, ProductsOfTurnedTilesAreExactOnSmallIntegers) {
  at::manual_seed(3);
  expect_turned_product<bf16>(at::kBFloat16);
  expect_turned_product<__half>(at::kHalf);
}

TEST(Sm90, ProductsOfFloat8BeginAnewOrGoOn) {
  at::manual_seed(4);
  const at::Tensor a = at::randint(-4, 5, {64, 32}, at::kFloat), b = at::randint(-4, 5, {128, 64}, at::kFloat);
  for (Order order : kOrders) {
    at::Tensor out = at::zeros({64, 128});
    launch(
        1, kWarpgroup, kDynamic,
        [&] {
          WAN_DYNAMIC_SHARED(raw);
          unsigned char* tile = aligned(raw);
          fill_tile(tile, b.to(at::kFloat8_e4m3fn), Swizzle::Bytes64);
          uint32_t left[4];
          load_left<e4m3, 32>(left, a, kernels::fragments::a_16x32);
          float sums[16][4];
          for (auto& four : sums) std::fill_n(four, 4, std::nanf(""));
          products_fence();
          multiply_64x128x32_e4m3<true>(sums, left, tile_descriptor(address_of(tile), Swizzle::Bytes64));
          multiply_64x128x32_e4m3<false>(sums, left, tile_descriptor(address_of(tile) + 32, Swizzle::Bytes64));
          products_commit();
          products_wait<0>();
          store(out, sums);
        },
        order);
    EXPECT_TRUE(is_close(out, at::matmul(at::cat({a, a}, 1), b.t()), 0));
  }
}

TEST(Sm90, ReportsProductsWithoutAFenceOrAWait) {
  auto with = [](bool fence, bool wait) {
    return message_of([=] {
      launch(1, kWarpgroup, kDynamic, [=] {
        WAN_DYNAMIC_SHARED(raw);
        const uint64_t tile = tile_descriptor(address_of(aligned(raw)));
        int32_t sums[16][4] = {};
        if (fence) products_fence();
        multiply_64x128x32_s8(sums, tile, tile);
        products_commit();
        if (wait) products_wait<0>();
      });
    });
  };
  EXPECT_EQ(with(true, true), "");
  EXPECT_NE(with(false, true).find("products_fence"), std::string::npos);
  EXPECT_NE(with(true, false).find("ended before its products"), std::string::npos);
}

}  // namespace
}  // namespace wan::simt::sm90
