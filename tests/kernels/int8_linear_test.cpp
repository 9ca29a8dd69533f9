// The 8-bit products, executed through the shim with emulated mma.sync and wgmma, against exact integers.
#include "kernels/linear/int8_linear_mma.cuh"
#include "kernels/linear/int8_linear_sm90.cuh"

#include <set>

#include "kernels/linear/int8.h"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

struct Operands {
  QuantisedRows x, weight;
};

Operands random_operands(int64_t rows, int64_t channels, int64_t depth) {
  at::manual_seed(rows * 7 + channels + depth);
  return {{at::randint(-127, 128, {rows, depth}, at::kChar), at::rand({rows}) + 0.5},
          {at::randint(-127, 128, {channels, depth}, at::kChar), at::rand({channels}) * 1e-3}};
}

Int8LinearArguments arguments_of(const Operands& o, const Tensor& bias = {}) {
  Int8LinearArguments a{};
  a.x = o.x.codes.const_data_ptr<int8_t>();
  a.x_scale = floats(o.x.scale);
  a.weight = o.weight.codes.const_data_ptr<int8_t>();
  a.weight_scale = floats(o.weight.scale);
  a.bias = floats(bias);
  a.rows = int(o.x.codes.size(0));
  a.channels = int(o.weight.codes.size(0));
  a.depth = int(o.x.codes.size(1));
  a.tokens = a.rows;
  return a;
}

/// Instructions, and with wgmma how the consumers share the work.
enum class Way { Mma, Wgmma, WgmmaInTurns };

std::string name_of_way(const testing::TestParamInfo<Way>& info) {
  return info.param == Way::Mma ? "Mma" : info.param == Way::Wgmma ? "Wgmma" : "WgmmaInTurns";
}

class Int8Linear : public testing::TestWithParam<Way> {
 protected:
  static void run(const Int8LinearArguments& a, Element element = Element::BFloat16,
                  simt::Order order = simt::Order::Forward) {
    constexpr int kBlocks = 2;  // each has several tiles where there are more than two
    const simt::HostRunner runner{order};
    const simt::sm90::HostMaps maps{};
    using namespace int8_linear_sm90;
    const cudaError_t status = GetParam() == Way::Mma ? int8_linear_mma::run_int8_linear(a, element, runner)
                               : GetParam() == Way::Wgmma
                                   ? run_int8_linear_sm90<Together>(a, element, kBlocks, maps, runner)
                                   : run_int8_linear_sm90<InTurns>(a, element, kBlocks, maps, runner);
    ASSERT_EQ(status, cudaSuccess);
  }
  static std::vector<simt::Order> orders() {
    return orders_of(GetParam() == Way::Mma ? Instructions::Mma : Instructions::Wgmma);
  }
  static Tensor sums_of(Operands o, simt::Order order);
};
INSTANTIATE_TEST_SUITE_P(Kernels, Int8Linear, testing::Values(Way::Mma, Way::Wgmma, Way::WgmmaInTurns), name_of_way);

/// The integer sums themselves: with scales of 1 and no gate the float32 residual receives them as they are.
Tensor Int8Linear::sums_of(Operands o, simt::Order order) {
  o.x.scale.fill_(1);
  o.weight.scale.fill_(1);
  Tensor residual = at::zeros({o.x.codes.size(0), o.weight.codes.size(0)});
  Int8LinearArguments a = arguments_of(o);
  a.residual = residual.data_ptr<float>();
  run(a, Element::BFloat16, order);
  return residual;
}

TEST_P(Int8Linear, SumsAreExactAtEveryTail) {
  for (int64_t rows : {1, 7, 63, 64, 65, 129}) {
    for (auto [channels, depth] : {std::pair{130, 128}, {96, 384}}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << channels << " x " << depth);
      Operands o = random_operands(rows, channels, depth);
      Tensor want = reference::multiply_codes(o.x.codes, o.weight.codes);
      for (simt::Order order : orders()) EXPECT_TRUE(is_close(sums_of(o, order), want, 0));
    }
  }
}

TEST_P(Int8Linear, ManyTilesForABlockAreExact) {
  Operands o = random_operands(130, 520, 640);
  Tensor want = reference::multiply_codes(o.x.codes, o.weight.codes);
  for (simt::Order order : orders()) EXPECT_TRUE(is_close(sums_of(o, order), want, 0));
}

TEST_P(Int8Linear, NumbersOfTilesThatTheConsumersDoNotShareEvenly) {
  // Two blocks have 1, 2, 3, 5 and 6 tiles of 128x128 between them: one consumer has a tile more, or there is only one.
  for (auto [rows, channels] : {std::pair{64, 100}, {129, 100}, {300, 128}, {513, 128}, {300, 256}}) {
    SCOPED_TRACE(testing::Message() << rows << " x " << channels);
    Operands o = random_operands(rows, channels, 256);
    Tensor want = reference::multiply_codes(o.x.codes, o.weight.codes);
    for (simt::Order order : orders()) EXPECT_TRUE(is_close(sums_of(o, order), want, 0));
  }
}

TEST_P(Int8Linear, SaturatedRowsAreExactAtTheModelsDepth) {
  Operands o = random_operands(3, 6, 5120);
  o.x.codes[0].fill_(127);
  o.weight.codes[0].fill_(-127);
  o.weight.codes[1].fill_(127);
  o.weight.codes[2].fill_(-128);  // which files may have
  Tensor sums = sums_of(o, simt::Order::Reverse);
  EXPECT_TRUE(is_close(sums, reference::multiply_codes(o.x.codes, o.weight.codes).to(at::kFloat), 0));
  EXPECT_EQ(sums[0][0].item<double>(), -127.0 * 127 * 5120);
}

TEST_P(Int8Linear, ScalesBiasAndGelu) {
  Operands o = random_operands(65, 130, 256);
  Tensor bias = at::randn({130});
  o.x.scale[3] = 0;
  Tensor want = reference::linear_int8(o.x, o.weight, bias);
  for (const Storage& storage : {kStorages[1], kStorages[2]}) {
    for (bool gelu : {false, true}) {
      Tensor out = poisoned({65, 130}, storage.dtype);
      Int8LinearArguments a = arguments_of(o, bias);
      a.out = out.data_ptr();
      a.gelu = gelu;
      run(a, storage.element);
      EXPECT_LT(relative_rms(out, gelu ? at::gelu(want, "tanh") : want), storage.typical);
      EXPECT_TRUE(gelu || out[3].equal(bias.to(storage.dtype)));
    }
  }
}

TEST_P(Int8Linear, AddsToTheResidualThroughEachSegmentsGate) {
  // Two batch elements of 70 tokens, whose segments end at 5, 68 and 70: the second element begins inside a tile.
  Operands o = random_operands(140, 34, 128);
  Tensor bias = at::randn({34}), gate = at::randn({3, 34}), residual = at::randn({2, 70, 34});
  Tensor want = residual.clone();
  gated_residual_(want, reference::linear_int8(o.x, o.weight, bias).view({2, 70, 34}), gate, {5, 68, 70});
  Int8LinearArguments a = arguments_of(o, bias);
  a.residual = residual.data_ptr<float>();
  a.gate = floats(gate);
  a.tokens = 70;
  a.segments = {3, {5, 68, 70}};
  run(a);
  EXPECT_LT(relative_rms(residual, want), 1e-6);  // float32, a fused multiply-add or two roundings
}

TEST_P(Int8Linear, AddsToTheResidualWithoutAGate) {
  Operands o = random_operands(65, 34, 128);
  Tensor bias = at::randn({34}), residual = at::randn({65, 34});
  const Tensor want = residual + reference::linear_int8(o.x, o.weight, bias);
  Int8LinearArguments a = arguments_of(o, bias);
  a.residual = residual.data_ptr<float>();
  a.gelu = true;  // plays no part beside a residual
  run(a);
  EXPECT_LT(relative_rms(residual, want), 1e-6);
}

TEST(Int8LinearTiles, TheyAreVisitedOnceInSquares) {
  using int8_linear::kBand;
  for (auto [rows, columns] : {std::pair{1, 1}, {591, 120}, {16, 3}, {17, 5}, {40, 1}}) {
    std::set<std::pair<int, int>> seen;
    for (int i = 0; i < rows * columns; ++i) {
      auto [row, column] = int8_linear::tile_of(i, rows, columns);
      EXPECT_TRUE(row >= 0 && row < rows && column >= 0 && column < columns);
      EXPECT_TRUE(seen.insert({row, column}).second);
    }
  }
  // 264 blocks in flight (two on each of 132 multiprocessors) touch 16 row tiles and 17 column tiles.
  std::set<int> rows, columns;
  for (int i = 0; i < 264; ++i) {
    rows.insert(int8_linear::tile_of(i, 591, 120).row);
    columns.insert(int8_linear::tile_of(i, 591, 120).column);
  }
  EXPECT_EQ(rows.size(), size_t(kBand));
  EXPECT_EQ(columns.size(), 17u);
}

}  // namespace
}  // namespace wan::kernels
