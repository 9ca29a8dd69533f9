// The shim itself: what it computes, and that it reports what a GPU would hide.
#include "kernels/simt/fp8.h"

#include <cmath>
#include <limits>

#include "tests/support.h"

namespace wan::simt {
namespace {

constexpr Order kOrders[] = {Order::Forward, Order::Reverse};

TEST(Simt, RunsEveryThreadOfEveryBlock) {
  std::vector<int> seen(3 * 2 * 64);
  launch(dim3(3, 2), 64, 0, [&] { ++seen[(blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x]; });
  EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
}

TEST(Simt, SumsOverWarpsAndBlocks) {
  for (Order order : kOrders) {
    std::vector<float> sums(256);
    launch(
        1, 256, 0,
        [&] {
          float once = block_sum<256>(float(threadIdx.x));
          sums[threadIdx.x] = once + block_sum<256>(1.0f);
        },
        order);
    EXPECT_EQ(sums, std::vector<float>(256, 255 * 128 + 256));
  }
}

TEST(Simt, AWarpAgreesOnlyTogether) {
  for (Order order : kOrders) {
    for (unsigned apart : {0u, 31u, 37u, 64u}) {  // 64: nobody
      std::vector<int> all(64);
      unsigned long long counted = 0;
      launch(
          1, 64, 0,
          [&] {
            all[threadIdx.x] = all_of_warp(threadIdx.x != apart);
            add_to_counter(&counted, 1 + threadIdx.x % 2);
          },
          order);
      for (unsigned i = 0; i < 64; ++i) EXPECT_EQ(all[i], int(i / 32 != apart / 32)) << i << " beside " << apart;
      EXPECT_EQ(counted, 96u);
    }
  }
}

std::string message_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "";
}

TEST(Simt, ReportsThreadsThatDiverge) {
  std::string barrier = message_of([] {
    launch(1, 64, 0, [] {
      if (threadIdx.x < 33) sync_block();
    });
  });
  EXPECT_NE(barrier.find("diverge"), std::string::npos) << barrier;
  EXPECT_NE(barrier.find("the end: threads 33"), std::string::npos) << barrier;
  std::string shuffle = message_of([] {
    launch(1, 32, 0, [] {
      if (threadIdx.x != 5) shuffle_xor(1.0f, 1);
    });
  });
  EXPECT_NE(shuffle.find("shuffle_xor"), std::string::npos) << shuffle;
  EXPECT_NE(message_of([] { launch(1, 33, 0, [] {}); }), "");
}

TEST(Simt, ReportsAnOverrunOfDynamicSharedMemory) {
  auto write = [](int at) {
    return message_of([at] {
      launch(1, 32, 64, [at] {
        WAN_DYNAMIC_SHARED(bytes);
        if (threadIdx.x == 0) bytes[at] = 1;
      });
    });
  };
  EXPECT_EQ(write(63), "");
  EXPECT_NE(write(64), "");
}

TEST(Simt, AnAsynchronousCopyMayAlsoArriveAtOnce) {
  alignas(16) float from[4] = {1, 2, 3, 4};
  auto launch_in = [&](Order order) {
    float seen = 0;
    launch(
        1, 32, 16,
        [&] {
          WAN_DYNAMIC_SHARED(bytes);
          auto* to = reinterpret_cast<float*>(bytes);
          if (threadIdx.x != 0) return;
          to[3] = 9;
          copy_async_16(to, from, true);
          seen = to[3];  // a reader that should have been kept apart
        },
        order);
    return seen;
  };
  EXPECT_EQ(launch_in(Order::Forward), 9);
  EXPECT_EQ(launch_in(Order::Reverse), 4);
}

TEST(Simt, AMissingBarrierReadsNaNInOneOfTheOrders) {
  int poisoned = 0;
  for (Order order : kOrders) {
    launch(
        1, 64, 0,
        [&] {
          WAN_SHARED(float, values, [64]);
          values[threadIdx.x] = 1;
          if (std::isnan(values[63 - threadIdx.x])) ++poisoned;
        },
        order);
  }
  EXPECT_GT(poisoned, 0);
}

TEST(Simt, AnAsynchronousCopyArrivesWhenItIsWaitedFor) {
  alignas(16) float from[4] = {1, 2, 3, 4};
  launch(1, 32, 64, [&] {
    WAN_DYNAMIC_SHARED(bytes);
    auto* to = reinterpret_cast<float*>(bytes);
    if (threadIdx.x == 0) {
      copy_async_16(to, from, true);
      copy_async_commit();
      copy_async_16(to + 4, from, false);
      copy_async_commit();
      EXPECT_TRUE(std::isnan(to[3]));
      copy_async_wait<1>();
      EXPECT_EQ(to[3], 4);
      EXPECT_TRUE(std::isnan(to[4]));
      copy_async_wait<0>();
      EXPECT_EQ(to[4], 0);
    }
  });
}

template <typename T>
void expect_product() {
  at::Tensor a = at::randint(-4, 5, {16, 16}, at::kFloat), b = at::randint(-4, 5, {16, 8}, at::kFloat),
             d = at::empty({16, 8});
  launch(1, 32, 0, [&] {
    const int lane = threadIdx.x;
    T a_elements[8], b_elements[4];
    float sum[4] = {1, 1, 1, 1};
    for (int i = 0; i < 8; ++i) {
      auto [row, column] = kernels::fragments::a_16x16(lane, i);
      a_elements[i] = from_float<T>(a.const_data_ptr<float>()[row * 16 + column]);
    }
    for (int i = 0; i < 4; ++i) {
      auto [row, column] = kernels::fragments::b_16x8(lane, i);
      b_elements[i] = from_float<T>(b.const_data_ptr<float>()[row * 8 + column]);
    }
    uint32_t a_registers[4], b_registers[2];
    std::memcpy(a_registers, a_elements, sizeof a_registers);
    std::memcpy(b_registers, b_elements, sizeof b_registers);
    mma_16x8x16<T>(sum, a_registers, b_registers);
    for (int i = 0; i < 4; ++i) {
      auto [row, column] = kernels::fragments::c_16x8(lane, i);
      d.mutable_data_ptr<float>()[row * 8 + column] = sum[i];
    }
  });
  EXPECT_TRUE(is_close(d, at::matmul(a, b) + 1, 0));
}

TEST(Simt, MatrixProductsAreExactOnSmallIntegers) {
  at::manual_seed(1);
  expect_product<bf16>();
  expect_product<__half>();
  at::Tensor a = at::randint(-128, 128, {16, 32}, at::kChar), b = at::randint(-128, 128, {32, 8}, at::kChar);
  at::Tensor d = at::empty({16, 8}, at::kInt);
  launch(1, 32, 0, [&] {
    const int lane = threadIdx.x;
    int8_t a_elements[16], b_elements[8];
    int32_t sum[4] = {7, 7, 7, 7};
    for (int i = 0; i < 16; ++i) {
      auto [row, column] = kernels::fragments::a_16x32(lane, i);
      a_elements[i] = a.const_data_ptr<int8_t>()[row * 32 + column];
    }
    for (int i = 0; i < 8; ++i) {
      auto [row, column] = kernels::fragments::b_32x8(lane, i);
      b_elements[i] = b.const_data_ptr<int8_t>()[row * 8 + column];
    }
    uint32_t a_registers[4], b_registers[2];
    std::memcpy(a_registers, a_elements, sizeof a_registers);
    std::memcpy(b_registers, b_elements, sizeof b_registers);
    mma_16x8x32_s8(sum, a_registers, b_registers);
    for (int i = 0; i < 4; ++i) {
      auto [row, column] = kernels::fragments::c_16x8(lane, i);
      d.mutable_data_ptr<int32_t>()[row * 8 + column] = sum[i];
    }
  });
  EXPECT_TRUE(d.equal(at::matmul(a.to(at::kInt), b.to(at::kInt)) + 7));
}

/// begin + a b for a [16, 32] and b [32, 8] of whole e4m3 numbers, with sums in half.
at::Tensor half_product(const at::Tensor& a, const at::Tensor& b, float begin) {
  at::Tensor d = at::empty({16, 8});
  launch(1, 32, 0, [&] {
    const int lane = threadIdx.x;
    e4m3 a_elements[16], b_elements[8];
    for (int i = 0; i < 16; ++i) {
      auto [row, column] = kernels::fragments::a_16x32(lane, i);
      a_elements[i] = e4m3(a.const_data_ptr<float>()[row * 32 + column]);
    }
    for (int i = 0; i < 8; ++i) {
      auto [row, column] = kernels::fragments::b_32x8(lane, i);
      b_elements[i] = e4m3(b.const_data_ptr<float>()[row * 8 + column]);
    }
    uint32_t a_registers[4], b_registers[2];
    std::memcpy(a_registers, a_elements, sizeof a_registers);
    std::memcpy(b_registers, b_elements, sizeof b_registers);
    const uint32_t pair = pack_halves<__half>(begin, begin);
    uint32_t sums[2] = {pair, pair};
    mma_16x8x32_e4m3(sums, a_registers, b_registers);
    float floats[4];
    unpack_halves(floats, sums);
    for (int i = 0; i < 4; ++i) {
      auto [row, column] = kernels::fragments::c_16x8(lane, i);
      d.mutable_data_ptr<float>()[row * 8 + column] = floats[i];
    }
  });
  return d;
}

TEST(Simt, HalfSumsOfFloat8AreRoundedOnceAndOverflow) {
  at::manual_seed(1);
  const at::Tensor a = at::randint(-8, 9, {16, 32}, at::kFloat), b = at::randint(-8, 9, {32, 8}, at::kFloat);
  EXPECT_TRUE(half_product(a, b, 1).equal(at::matmul(a, b) + 1));  // at most 2049
  const auto of_one_kind = [](double x, double y, float begin) {
    const at::Tensor d = half_product(at::full({16, 32}, x), at::full({32, 8}, y), begin);
    EXPECT_TRUE(d.eq(d[0][0]).all().item<bool>());
    return d[0][0].item<float>();
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(of_one_kind(0x1p-9, 0x1p-9, 0), 0x1p-13f);  // the smallest codes are not lost
  EXPECT_EQ(of_one_kind(1, 1.125, 2048), 2084);         // in steps of 2
  EXPECT_EQ(of_one_kind(1.0 / 32, 1, 2048), 2048);      // a tie
  EXPECT_EQ(of_one_kind(3.0 / 64, 1, 2048), 2050);      // 2049.5
  EXPECT_EQ(of_one_kind(448, 2.25, 32256), 64512);
  EXPECT_EQ(of_one_kind(448, 2.5, 35840), kInfinity);
  EXPECT_EQ(of_one_kind(-448, 2.5, -35840), -kInfinity);
}

}  // namespace
}  // namespace wan::simt
