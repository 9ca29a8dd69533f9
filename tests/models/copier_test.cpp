// The thread that copies: in order, with what fails told to who waits.
#include "models/weights/copier.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace wan {
namespace {

Copier::Work noted(std::vector<int>& order, int number) {
  return [&order, number](CopyEngine&, Copied& done) {
    order.push_back(number);
    done.bytes += 10;
  };
}

TEST(Copier, WorksInOrderAndCounts) {
  std::vector<int> order;
  std::atomic<bool> go = false;
  Copier copier(cpu_copy_engine());
  // The first one waits until the queue holds all others.
  copier.add(
      [&](CopyEngine&, Copied&) {
        while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      },
      nullptr);
  for (int i = 0; i < 50; ++i) copier.add(noted(order, i), copier.now());
  go = true;
  copier.settle();
  ASSERT_EQ(order.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[size_t(i)], i);
  EXPECT_EQ(copier.copied().jobs, 51);
  EXPECT_EQ(copier.copied().bytes, 500u);
}

TEST(Copier, TellsWhoWaitsWhatFailedAndGoesOn) {
  std::vector<int> order;
  Copier copier(cpu_copy_engine());
  const auto bad = copier.add([](CopyEngine&, Copied&) { throw std::runtime_error("gone"); }, nullptr);
  const auto good = copier.add(noted(order, 1), nullptr);
  EXPECT_THROW(copier.wait(*bad), std::runtime_error);
  EXPECT_THROW(copier.wait(*bad), std::runtime_error);
  EXPECT_NO_THROW(copier.wait(*good));
  EXPECT_EQ(copier.copied().jobs, 1);
}

TEST(Copier, WhatWasGivenUpIsNotDone) {
  std::vector<int> order;
  std::atomic<bool> go = false;
  Copier copier(cpu_copy_engine());
  const auto first = copier.add(
      [&](CopyEngine&, Copied&) {
        while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      },
      nullptr);
  const auto second = copier.add(noted(order, 2), nullptr), third = copier.add(noted(order, 3), nullptr);
  copier.cancel(*second);
  go = true;
  copier.wait(*third);
  EXPECT_EQ(order, std::vector<int>{3});
  EXPECT_THROW(copier.wait(*second), std::logic_error);
  EXPECT_NO_THROW(copier.cancel(*first));  // is done
}

TEST(Copier, WhoWaitsIsAskedAndMayStop) {
  struct Stop : std::exception {};
  std::atomic<bool> go = false;
  Copier copier(cpu_copy_engine());
  const auto ticket = copier.add(
      [&](CopyEngine&, Copied&) {
        while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      },
      nullptr);
  int asked = 0;
  const auto check = [&] {
    if (++asked == 3) throw Stop();
  };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THROW(copier.wait(*ticket, check), Stop);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  go = true;
  EXPECT_NO_THROW(copier.wait(*ticket, [] {}));
  EXPECT_EQ(copier.copied().jobs, 1) << "the copy itself goes on";
}

TEST(Copier, EndsWithWorkInItsQueue) {
  int done = 0;
  {
    Copier copier(cpu_copy_engine());
    for (int i = 0; i < 100; ++i)
      copier.add(
          [&](CopyEngine&, Copied&) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            ++done;
          },
          nullptr);
  }
  EXPECT_LE(done, 2) << "the running job is ended, and what is queued is dropped";
}

TEST(CopyEngine, CopiesBytes) {
  for (const bool library : {false, true}) {
    SCOPED_TRACE(library ? "by libtorch" : "of the CPU");
    const auto engine = library ? library_copy_engine(at::kCPU) : cpu_copy_engine();
    const at::Tensor from = at::arange(10, at::kFloat), to = at::zeros({40}, at::kByte);
    engine->copy(from, to);
    EXPECT_TRUE(to.view(at::kFloat).equal(from));
    const at::Tensor one = at::scalar_tensor(3.5, at::kDouble), words = at::zeros({2, 1}, at::kFloat);
    engine->copy(one, words);
    EXPECT_TRUE(words.view({2}).view(at::kDouble).equal(one.view({1})));
    EXPECT_NO_THROW(engine->copy(at::empty({0}, at::kFloat), at::empty({0, 3}, at::kHalf)));
    EXPECT_THROW(engine->copy(from, at::zeros({41}, at::kByte)), c10::Error);
    EXPECT_THROW(engine->copy(from.view({5, 2}).t(), to), c10::Error);
    const at::Tensor half = at::zeros({10}, at::kHalf);
    const auto pieces = engine->pieces(2);
    pieces->copy(from, half, nullptr);
    pieces->finish();
    EXPECT_TRUE(half.equal(from.to(at::kHalf)));
  }
}

// ./run builds no kernels for cards below sm_80, and libtorch computes there all the same.
TEST(CopyEngine, ABuildWithoutKernelsCopiesToAGpu) {
#ifdef WAN_CUDA_KERNELS
  GTEST_SKIP() << "this build has kernels";
#else
  EXPECT_NE(cuda_copy_engine(at::Device(at::kCUDA, 0)), nullptr);
#endif
}

}  // namespace
}  // namespace wan
