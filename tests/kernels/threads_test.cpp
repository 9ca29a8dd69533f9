// On the CPU an operation gives the same bytes with every number of threads: a batch goes on with another number, a
// video is made again on another machine.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <functional>

#include "kernels/attention/attention.h"
#include "kernels/attention/int8_attention.h"
#include "kernels/convolution/conv3d.h"
#include "kernels/linear/int8.h"
#include "kernels/linear/linear.h"
#include "kernels/norm/channel_norm.h"
#include "kernels/norm/norm.h"
#include "kernels/op/pieces.h"
#include "kernels/rope/rope.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

/// Expects the bytes of one thread with 2 to 16 threads.
void expect_equal_over_threads(const std::string& name, const std::function<Tensor()>& compute) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor want = compute();
  for (int threads : {2, 3, 4, 5, 7, 8, 12, 16}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(compute(), want)) << name << ", " << threads << " threads";
  }
  at::set_num_threads(before);
}

TEST(Threads, Linear) {
  at::manual_seed(1);
  for (auto [rows, in, out] : std::vector<std::array<int64_t, 3>>{
           {1, 64, 1}, {1, 128, 128}, {12, 96, 384}, {32, 128, 128}, {77, 200, 333}, {513, 64, 1030}, {1200, 96, 96}}) {
    const Tensor x = at::randn({1, rows, in}), weight = at::randn({out, in}), bias = at::randn({out});
    for (Activation activation : {Activation::None, Activation::GeluTanh, Activation::Silu})
      expect_equal_over_threads("linear " + std::to_string(rows) + "x" + std::to_string(in) + "x" + std::to_string(out),
                                [&] { return kernels::linear(x, weight, bias, activation); });
    expect_equal_over_threads("bf16 linear", [&] { return kernels::linear(x.to(at::kBFloat16), weight, bias); });
  }
}

TEST(Threads, Int8Linear) {
  at::manual_seed(2);
  const Tensor x = at::randn({1, 48, 128}), weight = at::randn({384, 128}), bias = at::randn({384});
  const QuantisedRows rows = quantise_rows(weight);
  expect_equal_over_threads("linear_int8", [&] { return linear_int8(x, rows, bias); });
}

TEST(Threads, Attention) {
  at::manual_seed(3);
  for (auto [queries, keys, heads, dim] : std::vector<std::array<int64_t, 4>>{{32, 32, 4, 32},
                                                                              {160, 160, 12, 128},
                                                                              {160, 512, 4, 128},
                                                                              {33, 7, 2, 64},
                                                                              {20, 512, 1, 128},
                                                                              {1, 512, 3, 16},
                                                                              {700, 700, 2, 16}}) {
    const Tensor q = at::randn({1, queries, heads, dim}), k = at::randn({1, keys, heads, dim}),
                 v = at::randn({1, keys, heads, dim});
    const std::string name = "attention of " + std::to_string(queries) + " over " + std::to_string(keys);
    expect_equal_over_threads(name, [&] { return attention(q, k, v, 0.1); });
    expect_equal_over_threads(name + " with a bias",
                              [&, bias = at::randn({heads, queries, keys})] { return attention(q, k, v, 0.1, bias); });
    expect_equal_over_threads(name + " with masked keys",
                              [&, bias = at::randn({keys})] { return attention(q, k, v, 0.1, bias); });
    expect_equal_over_threads(name + " by the reference", [&] { return reference::attention(q, k, v, 0.1); });
  }
}

TEST(Threads, Convolutions) {
  at::manual_seed(4);
  for (auto [in, out, height, width] : std::vector<std::array<int64_t, 4>>{{16, 32, 8, 8},
                                                                           {384, 384, 3, 5},
                                                                           {384, 192, 6, 10},
                                                                           {12, 16, 8, 8},
                                                                           {8, 8, 64, 64},
                                                                           {3, 8, 64, 64},
                                                                           {3, 96, 24, 40},
                                                                           {96, 96, 16, 16},
                                                                           {32, 32, 9, 13}}) {
    const std::string name = " of " + std::to_string(in) + " to " + std::to_string(out) + " channels";
    const Tensor x = at::randn({3, height, width, in}), bias = at::randn({out});
    for (auto [t, k] : std::vector<std::array<int64_t, 2>>{{3, 3}, {1, 1}, {1, 3}, {3, 1}})
      expect_equal_over_threads("conv3d" + name + ", taps " + std::to_string(t) + " " + std::to_string(k),
                                [&, weight = at::randn({out, in, t, k, k})] { return conv3d(x, weight, bias); });
    expect_equal_over_threads("conv3d with stride" + name,
                              [&, weight = at::randn({out, in, 3, 1, 1})] { return conv3d(x, weight, bias, 2); });
    const Tensor taps = at::randn({out, in, 3, 3});
    expect_equal_over_threads("conv2d_down" + name, [&] { return conv2d_down(x, taps, bias); });
    expect_equal_over_threads("conv2d_up" + name, [&] { return conv2d_up(x, fold_nearest2x(taps), bias); });
  }
}

TEST(Threads, Norms) {
  at::manual_seed(5);
  const Tensor x = at::randn({1, 333, 96}), w = at::randn({96}), b = at::randn({96}), rows = at::randn({1, 96});
  expect_equal_over_threads("rms_norm", [&] { return rms_norm(x, w, 1e-6); });
  expect_equal_over_threads("layer_norm", [&] { return layer_norm(x, w, b, 1e-6, at::kFloat); });
  expect_equal_over_threads("modulated_layer_norm",
                            [&] { return modulated_layer_norm(x, rows, rows, {333}, 1e-6, at::kFloat); });
  expect_equal_over_threads("gated_residual_", [&] {
    Tensor sum = x.clone();
    gated_residual_(sum, x, rows, {333});
    return sum;
  });
  for (bool activate : {false, true})
    expect_equal_over_threads("channel_norm_silu", [&] {
      const Tensor pixels = at::arange(40 * 50 * 96, at::kFloat).sin_().view({1, 40, 50, 96});
      Tensor out = at::empty_like(pixels);
      channel_norm_silu(pixels, w, activate, out);
      return out;
    });
}

TEST(Threads, ValuesOneByOneAndSums) {
  at::manual_seed(7);
  const Tensor x = at::randn({3, 333331});
  const auto piecewise = [&](const std::string& name, const std::function<void(Tensor&)>& operation) {
    expect_equal_over_threads(name, [&] {
      const Tensor y = x.clone();
      elementwise_(y, operation);
      return y;
    });
    Tensor whole = x.clone();
    operation(whole);
    const Tensor y = x.clone();
    elementwise_(y, operation);
    EXPECT_TRUE(is_close(y, whole, 1e-6)) << name;
  };
  piecewise("silu", [](Tensor& piece) { at::silu_(piece); });
  piecewise("gelu", [](Tensor& piece) { at::gelu_(piece); });
  piecewise("gelu tanh", [](Tensor& piece) { at::gelu_(piece, "tanh"); });
  piecewise("exp2", [](Tensor& piece) { piece.exp2_(); });
  expect_equal_over_threads("sum", [&] { return at::scalar_tensor(sum_in_pieces(x), at::kDouble); });
  EXPECT_NEAR(sum_in_pieces(x), x.to(at::kDouble).sum().item<double>(), 1e-9);
}

TEST(Threads, Int8Attention) {
  at::manual_seed(8);
  const Tensor q = at::randn({1, 160, 4, 128}), k = at::randn({1, 200, 4, 128}), v = at::randn({1, 200, 4, 128});
  for (Values values : {Values::Plain, Values::Float8})
    expect_equal_over_threads("attention_int8", [&] { return attention_int8(q, k, v, 0.1, values); });
}

TEST(Threads, Rope) {
  expect_equal_over_threads("make_rope", [] { return make_rope(grid_positions(21, 30, 52), 128, at::kCPU).cos; });
}

TEST(Threads, WhatAtenComputesForTheNetworks) {
  at::manual_seed(6);
  // Longer than ATen's grain of 32768, odd, so that the threads' parts end within a vector.
  const Tensor x = at::randn({3, 33331}), y = at::randn({3, 33331});
  const std::map<std::string, std::function<Tensor()>> operations = {
      {"softmax", [&] { return at::softmax(x, -1); }},
      {"mean of the rows", [&] { return at::mean(x, {1}); }},
      {"norm of the rows", [&] { return at::linalg_vector_norm(x, 2, at::IntArrayRef{1}); }},
      {"addcmul", [&] { return at::addcmul(x, x, y); }},
      {"cosine", [&] { return at::cos(x.to(at::kDouble)); }},
      {"conv1d", [&, w = at::randn({16, 3, 10})] { return at::conv1d(x.unsqueeze(0), w, {}, 5); }},
  };
  for (const auto& [name, compute] : operations) expect_equal_over_threads(name, compute);
}

}  // namespace
}  // namespace wan::kernels
