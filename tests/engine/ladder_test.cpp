// What is copied before the low-noise expert's first forward, and what each step of the ladder gives up.
#include <thread>

#include "engine/residency/fit.h"
#include "engine/sampling/guidance.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

TEST_F(DeviceMemory, TheLowNoiseExpertIsCopiedBeforeItsFirstForward) {
  const Request wanted = request(Task::T2V, kNano);
  const auto [least, all] = limits_of(wanted);
  const ModelParts parts = parts_of(kNano, Task::T2V);
  const Schedule schedule = make_schedule(wanted);
  ASSERT_EQ(schedule.first_low(), 2) << "two forwards of each expert";
  for (const uint64_t limit : {all, all - 1, least + (all - least) / 16}) {
    SCOPED_TRACE(limit);
    const Request under = limited(wanted, limit);
    const Placement placement = resolve_placement(under);
    Networks networks(parts, placement, fit_of(under, parts, placement).activations, Log{});
    Guidance guidance(networks, {at::randn({5, 64}), at::randn({3, 64}), {}}, {.last_high = &schedule[1]});
    const auto forward = [&](int64_t step) { guidance(schedule[step], at::randn({16, 2, 8, 8})); };
    const auto expect_copies = [&](int64_t count) {
      for (int i = 0; i < 500 && networks.copied().jobs < count; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      std::this_thread::sleep_for(std::chrono::milliseconds(50));  // any that are too many are made by then
      EXPECT_EQ(networks.copied().jobs, count);
    };
    forward(0);
    BlockMemory& memory = *networks.expert(true).streamed->memory();
    const auto slots = int64_t(memory.ring().size()), streamed = int64_t(memory.streamed().size()),
               kept = memory.blocks() - streamed;
    expect_copies(kept + slots + streamed);
    forward(1);
    // In place of what the high-noise expert does not need again: the kept blocks and the first ones of the ring.
    expect_copies(2 * kept + slots + 2 * streamed);
    forward(2);
    expect_copies(2 * kept + slots + 3 * streamed);
    forward(3);
    expect_copies(2 * kept + slots + 4 * streamed);
  }
}

TEST_F(DeviceMemory, EachStepOfTheLadderLeavesLess) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted), network = "high-noise expert";
  const uint64_t all = limits_of(wanted).second;
  // The first step gives back the other networks, each later one half of the six blocks that stayed.
  const std::vector<std::string> steps = {"other networks and cached memory are given back",
                                          "3 blocks stay on the device, 6 did", "1 blocks stay on the device, 3 did",
                                          "0 blocks stay on the device, 1 did"};
  std::vector<uint64_t> bytes;
  for (size_t times = 0; times <= steps.size(); ++times) {
    SCOPED_TRACE(times);
    Told told;
    uint64_t taken = 0;
    const Log log{[&](std::string_view event, const Log::Fields& fields) {
      if (event == "load" && fields.at("network") == network) taken = fields.at("device_bytes");
      told.log(event, fields);
    }};
    Silent silent;
    const std::string out =
        render(limited(wanted, all), {.save_every = {}, .budget_hook = full(network, 0, int64_t(times))}, log, silent);
    EXPECT_TRUE(bytes_of(out) == want);
    fs::remove(out);
    ASSERT_EQ(told.memory.size(), times);
    for (size_t i = 0; i < times; ++i) EXPECT_NE(told.memory[i].find(steps[i]), std::string::npos) << told.memory[i];
    bytes.push_back(taken);
  }
  EXPECT_LE(bytes[1], bytes[0]);
  EXPECT_LE(bytes[2], bytes[1]) << "three blocks and three slots are six";
  for (size_t i = 3; i < bytes.size(); ++i) EXPECT_LT(bytes[i], bytes[i - 1]) << i;
}

}  // namespace
}  // namespace wan
