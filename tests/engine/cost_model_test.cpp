// The planner's seconds against a simulated clock.
#include "engine/residency/cost_model.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/residency/network_time.h"
#include "engine/residency/plan.h"
#include "tests/support/plans.h"
#include "tests/support/simulated_stream.h"

namespace wan {
namespace {

std::vector<SimulatedBlock> simulated(const NetworkSizes& sizes, const NetworkPlan& placed, double block) {
  const std::vector<bool> kept = kept_blocks(placed);
  const std::vector<Image> images = images_of(placed);
  std::vector<SimulatedBlock> blocks;
  for (size_t i = 0; i < kept.size(); ++i)
    blocks.push_back({block, !kept[i], images[i], sizes.blocks[i].device, sizes.blocks[i].file});
  return blocks;
}

/// Any machine and any shape in which something is streamed.
struct Drawn {
  explicit Drawn(uint64_t seed) : random(seed) {
    extent = {4 * whole(2, 20) + 1, 16 * whole(20, 45), 16 * whole(20, 80)};
    const bool made = whole(0, 1) == 1;
    workload =
        plans::a14b(extent, std::vector<uint64_t>{plans::kBf16, plans::kFp8, plans::kQ4}[size_t(whole(0, 2))], made);
    for (Network network : {Network::HighNoise, Network::LowNoise})
      for (size_t i = 0; i < 40; i += 5) workload.networks[network].blocks[i].device += 16'000'000;  // mixed codes
    const Demand demand = workload.demand(extent);
    const NetworkSizes& high = workload.networks.at(Network::HighNoise);
    const uint64_t least = 2 * high.outside + 2 * high.slot() + demand.denoise, most = high.device() + demand.denoise;
    const uint64_t text = 3'200'000'000, vae = 260'000'000 + demand.vae_shared;
    machine = plans::card(std::max({least + uint64_t(double(most - least) * real(0, 0.9)), text, vae}));
    set_link(machine, real(3e9, 60e9));
    machine.disk = real(0.5e9, 8e9);
    set_host(machine, uint64_t(real(4e9, 90e9)));
    machine.linear = real(20e12, 700e12);
    machine.attention = machine.linear * 0.8;
    machine.bandwidth = real(3e11, 4e12);
  }
  int64_t whole(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(random); }
  double real(double least, double most) { return std::uniform_real_distribution<double>(least, most)(random); }

  std::mt19937_64 random;
  Extent extent{};
  Workload workload;
  Machine machine;
};

TEST(CostModel, AgreesWithTheSimulatedClockOnDrawnMachines) {
  int streamed = 0, hidden = 0, seen = 0;
  for (uint64_t seed = 1; streamed < 40 && seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    const Drawn drawn(seed);
    const Plan planned = plan(drawn.workload, drawn.machine);
    const PhasePlan& phase = *planned.phase("high_noise");
    const NetworkPlan& placed = phase.networks.at(0);
    if (placed.residency != Residency::Streamed) continue;
    ++streamed;
    const NetworkSizes& sizes = drawn.workload.networks.at(Network::HighNoise);
    const Demand demand = drawn.workload.demand(drawn.extent);
    const double block = 2 * seconds_of(demand.block, drawn.machine, false);
    const double rest = 2 * seconds_of(demand.rest, drawn.machine, false);
    SimulatedStream clock(simulated(sizes, placed, block), rest, placed.slots, drawn.machine);
    const SimulatedStream::Result run = clock.run(drawn.workload.high_steps);
    EXPECT_NEAR((phase.seconds - phase.load_seconds) / run.seconds, 1, 0.05);
    if (phase.hidden) {
      EXPECT_EQ(run.late, 0);
    }
    ++(phase.hidden ? hidden : seen);
  }
  EXPECT_EQ(streamed, 40);
  EXPECT_GE(hidden, 5);
  EXPECT_GE(seen, 5);
}

TEST(CostModel, ACopyHidesBehindTheBlocksBetween) {
  // Every fourth of 40 blocks is streamed: a copy has four blocks' time.
  Streaming streaming{.compute = std::vector<double>(40, 1.0), .copy = std::vector<double>(40, -1), .slots = 2};
  for (size_t i = 3; i < 40; i += 4) streaming.copy[i] = 3.7;
  StreamingTime time = streaming_time(streaming, 10);
  EXPECT_TRUE(time.hidden);
  EXPECT_NEAR(time.seconds, 400.7, 1e-9);  // the first copy is waited for
  EXPECT_NEAR(time.copy, 370, 1e-9);
  for (size_t i = 3; i < 40; i += 4) streaming.copy[i] = 5;
  time = streaming_time(streaming, 10);
  EXPECT_FALSE(time.hidden);
  EXPECT_NEAR(time.seconds, 500, 6);
}

TEST(CostModel, TwoSlotsDoNotHideWhatThreeDo) {
  // Of four blocks three are streamed, one after another: their copies want the time of the fourth, too.
  Streaming streaming{.compute = {1, 1, 1, 1}, .copy = {1.2, 1.2, 1.2, -1}, .slots = 2};
  EXPECT_FALSE(streaming_time(streaming, 50).hidden);
  const double two = streaming_time(streaming, 50).seconds;
  streaming.slots = 3;
  EXPECT_TRUE(streaming_time(streaming, 50).hidden);
  EXPECT_LT(streaming_time(streaming, 50).seconds, two);
}

TEST(CostModel, HiddenHoldsOnALinkThatIsALittleSlower) {
  Streaming streaming{.compute = std::vector<double>(8, 1.0), .copy = std::vector<double>(8, 0.99), .slots = 2};
  EXPECT_FALSE(streaming_time(streaming, 20).hidden);
  streaming.copy.assign(8, 0.95);
  EXPECT_TRUE(streaming_time(streaming, 20).hidden);
}

TEST(CostModel, EightBitProductsAreForCardsThatHaveThem) {
  Machine machine = plans::card(24'000'000'000);
  const Work work{1e15, 0, 0};
  EXPECT_LT(seconds_of(work, machine, true), seconds_of(work, machine, false));
  machine.linear8 = 0;
  EXPECT_EQ(seconds_of(work, machine, true), seconds_of(work, machine, false));
}

}  // namespace
}  // namespace wan
