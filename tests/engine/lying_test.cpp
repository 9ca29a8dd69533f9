// What a budget counts, and how the blocks of a network lie in it.
#include "engine/residency/lying.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/request/parse.h"
#include "engine/residency/device_budget.h"

namespace wan {
namespace {

TEST(DeviceBudget, CountsExactly) {
  DeviceBudget budget(100);
  {
    const DeviceBudget::Lease one = budget.take(60, "one");
    DeviceBudget::Lease two = budget.take(40, "two");
    EXPECT_EQ(budget.used(), 100u);
    EXPECT_EQ(budget.free(), 0u);
    try {
      budget.take(1, "three");
      ADD_FAILURE() << "101 of 100";
    } catch (const c10::OutOfMemoryError& error) {
      EXPECT_STREQ(error.what_without_backtrace(),
                   "[device_memory] must have 0.00 MB more for three, got 0.00 MB left of 0.00 MB");
    }
    two = {};
    EXPECT_EQ(budget.used(), 60u);
    DeviceBudget::Lease three = budget.take(10, "three"), moved = std::move(three);
    EXPECT_EQ(budget.used(), 70u);
  }
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_EQ(budget.peak(), 100u);
  EXPECT_EQ(budget.peak_since_asked(), 100u);
  EXPECT_EQ(budget.peak_since_asked(), 0u);
  { const DeviceBudget::Lease later = budget.take(30, "later"); }
  EXPECT_EQ(budget.peak_since_asked(), 30u);
  EXPECT_EQ(budget.peak(), 100u);
  EXPECT_THROW(budget.take(UINT64_MAX, "all"), c10::OutOfMemoryError);
}

TEST(DeviceBudget, FollowsWhatTheDeviceHas) {
  DeviceRoom now{80, 90};
  uint64_t told = 0;
  DeviceBudget budget(100, "device_memory", {}, [&](uint64_t used) {
    told = used;
    return now;
  });
  DeviceBudget::Lease lease = budget.take(60, "one");
  EXPECT_EQ(budget.limit(), 100u) << "until it is asked";
  EXPECT_TRUE(budget.look_again(70));
  EXPECT_EQ(told, 60u);
  EXPECT_EQ(budget.limit(), 80u);
  EXPECT_EQ(budget.planned(), 100u);
  EXPECT_EQ(budget.field(), "memory") << "less than the user allows";
  EXPECT_FALSE(budget.look_again(70)) << "nothing has changed";
  EXPECT_TRUE(budget.look_again(85));
  EXPECT_EQ(budget.limit(), 85u) << "the least that is needed goes into the margin";
  EXPECT_TRUE(budget.look_again(95));
  EXPECT_EQ(budget.limit(), 90u) << "as far as it goes";
  now = {40, 50};
  EXPECT_TRUE(budget.look_again(0));
  EXPECT_EQ(budget.free(), 0u) << "more is used than may be taken";
  EXPECT_THROW(budget.take(1, "two"), c10::OutOfMemoryError);
  lease = {};
  EXPECT_EQ(budget.free(), 40u);
  now = {100, 100};
  EXPECT_TRUE(budget.look_again(0));
  EXPECT_EQ(budget.field(), "device_memory");
  now = {89, 105};
  EXPECT_TRUE(budget.look_again(0)) << "5 of a margin of 16 are left";
  EXPECT_EQ(budget.limit(), 89u);
  now = {81, 97};
  EXPECT_FALSE(budget.look_again(0)) << "half of the margin is left";
  EXPECT_EQ(budget.limit(), 89u);
  DeviceBudget fixed(100);
  EXPECT_FALSE(fixed.look_again(UINT64_MAX));
  EXPECT_EQ(fixed.limit(), 100u);
}

NetworkSizes sizes_of(uint64_t outside, const std::vector<uint64_t>& blocks) {
  NetworkSizes sizes;
  sizes.outside = outside;
  for (const uint64_t bytes : blocks) sizes.blocks.push_back({.device = bytes});
  return sizes;
}

TEST(Lying, KeepsAsManyBlocksAsFit) {
  const NetworkSizes sizes = sizes_of(1000, {512, 512, 512, 512, 512, 512});
  const auto bytes = [](uint64_t blocks) { return 1000 + blocks * 512; };
  EXPECT_EQ(least_bytes(sizes), bytes(2));
  EXPECT_EQ(lying_for(sizes, bytes(6))->blocks.kept, 6);
  EXPECT_EQ(lying_for(sizes, bytes(6) - 1)->blocks.kept, 2) << "beside three slots";
  EXPECT_EQ(lying_for(sizes, bytes(6), 1)->blocks.kept, 1);
  EXPECT_EQ(lying_for(sizes, bytes(6), 0)->device_bytes, bytes(3));
  EXPECT_EQ(lying_for(sizes, bytes(3) - 1)->blocks.slots, 2);
  EXPECT_EQ(lying_for(sizes, bytes(2))->device_bytes, bytes(2));
  EXPECT_FALSE(lying_for(sizes, bytes(2) - 1));
  EXPECT_EQ(lying_for(sizes_of(1000, {}), 1000)->device_bytes, 1000u);
  EXPECT_FALSE(lying_for(sizes_of(1000, {}), 999));
  // One block: as little as it takes is all of it, in a slot where it may not stay.
  const NetworkSizes one = sizes_of(1000, {512});
  EXPECT_EQ(lying_for(one, bytes(1))->blocks.kept, 1);
  const std::optional<Lying> in_slot = lying_for(one, bytes(1), 0);
  ASSERT_TRUE(in_slot);
  EXPECT_EQ(in_slot->blocks.kept, 0);
  EXPECT_EQ(in_slot->blocks.slots, 1);
  EXPECT_EQ(in_slot->device_bytes, 1000 + block_bytes(device_sizes(one), in_slot->blocks));
  EXPECT_FALSE(lying_for(one, bytes(1) - 1, 0));
  // What is planned is what BlockMemory takes.
  for (const uint64_t room : {bytes(2), bytes(3), bytes(4), bytes(5), bytes(6)}) {
    const Lying lying = *lying_for(sizes, room);
    EXPECT_EQ(lying.device_bytes, 1000 + block_bytes(device_sizes(sizes), lying.blocks));
  }
}

// The planner counts with the same blocks that are streamed.
TEST(Lying, BlocksAreSpreadAsPlanned) {
  for (int64_t blocks = 1; blocks <= 48; ++blocks)
    for (int64_t kept = 0; kept <= blocks; ++kept) {
      const std::vector<bool> stays = spread_evenly(blocks, kept);
      std::vector<int64_t> others;
      for (int64_t i = 0; i < blocks; ++i)
        if (!stays[size_t(i)]) others.push_back(i);
      EXPECT_EQ(streamed_of(blocks, kept), others) << kept << " of " << blocks;
    }
}

TEST(Lying, TheFirstChoiceThatFitsStays) {
  std::map<Network, NetworkSizes> networks = {{Network::HighNoise, sizes_of(100, {10, 10})},
                                              {Network::LowNoise, sizes_of(200, {20})},
                                              {Network::TextEncoder, sizes_of(1000, {})},
                                              {Network::AudioEncoder, sizes_of(1 << 20, {})}};
  EXPECT_EQ(keep_for(networks, 50, 7, 1340 + 50), Keep::All);
  EXPECT_EQ(keep_for(networks, 50, 7, 1340 + 50 - 1), Keep::Experts);
  EXPECT_EQ(keep_for(networks, 50, 7, 340 + 7), Keep::Experts);
  EXPECT_EQ(keep_for(networks, 50, 7, 340 + 7 - 1), Keep::One);
  networks.erase(Network::HighNoise);
  networks.erase(Network::LowNoise);
  EXPECT_EQ(keep_for(networks, 50, 7, 1000), Keep::One) << "there are none";
}

TEST(DeviceMemoryField, OfARequestIsCheckedAndNotStored) {
  const nlohmann::json fields = {{"model", "m"}, {"prompt", "p"}, {"seed", 1}};
  nlohmann::json with = fields;
  with["device_memory"] = "20GB";
  const Request request = parse(Task::T2V, with), without = parse(Task::T2V, fields);
  EXPECT_EQ(request.device_memory, "20GB");
  EXPECT_EQ(to_json(request).dump(), to_json(without).dump());
  with["device_memory"] = "much";
  try {
    parse(Task::T2V, with);
    ADD_FAILURE() << "\"much\" is a size";
  } catch (const InvalidRequest& refused) {
    EXPECT_EQ(refused.errors.at(0).line(),
              "[device_memory] must be a number of bytes with its unit, such as 20GB or 900MB, got 'much'");
  }
}

}  // namespace
}  // namespace wan
