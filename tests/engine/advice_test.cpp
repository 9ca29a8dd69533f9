// What would make a planned job faster, each with its seconds.
#include "engine/residency/advice.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/base/text.h"
#include "tests/support/plans.h"

namespace wan {
namespace {

const Extent kShort{17, 480, 832};

std::vector<std::string> advised(const Machine& machine, const std::vector<Alternative>& others = {}) {
  const Workload work = plans::a14b(kShort, plans::kBf16, /*made=*/true);
  return advice(work, machine, plan(work, machine), others);
}

bool says(const std::vector<std::string>& sentences, const std::string& part) {
  return std::any_of(sentences.begin(), sentences.end(),
                     [&](const std::string& one) { return one.find(part) != std::string::npos; });
}

TEST(Advice, NamesWhatIsShort) {
  Machine machine = plans::card(10'000'000'000);
  set_link(machine, 2e9);
  machine.disk = 1e9;
  set_host(machine, 12'000'000'000);
  const std::vector<std::string> sentences = advised(machine);
  EXPECT_TRUE(says(sentences, " more of the card would keep an expert whole: "));
  EXPECT_TRUE(says(sentences, " more of host memory would hold the blocks that are read at each use: "));
  EXPECT_TRUE(says(sentences, "a disk of 2 GB/s instead of 1 GB/s: "));
  set_host(machine, 90'000'000'000);
  EXPECT_TRUE(says(advised(machine), "a link of 4 GB/s instead of 2 GB/s: "));
  EXPECT_FALSE(says(advised(machine), "host memory"));
}

TEST(Advice, TheMemoryThatItNamesIsEnough) {
  Machine machine = plans::card(10'000'000'000);
  set_link(machine, 1e9);
  const Workload work = plans::a14b(kShort, plans::kBf16);
  const NetworkSizes& high = work.networks.at(Network::HighNoise);
  const uint64_t wanted = high.device() + high.outside + work.demand(kShort).denoise;
  const std::string more = gigabytes(wanted - machine.budget) + " more of the card";
  EXPECT_TRUE(says(advice(work, machine, plan(work, machine)), more));
  machine.budget = wanted;
  EXPECT_EQ(plan(work, machine).phase("low_noise")->networks[0].residency, Residency::Whole);
  EXPECT_TRUE(plan(work, machine).prefetches_expert);
}

TEST(Advice, AnotherWayIsNamedWhereItIsFaster) {
  Machine machine = plans::card(10'000'000'000);
  set_link(machine, 1e9);
  const Alternative fewer{"--weights fp8", plans::a14b(kShort, plans::kFp8)};
  EXPECT_TRUE(says(advised(machine, {fewer}), "--weights fp8 takes less memory, and changes bits of the video: "));
  const Alternative same{"--weights bf16", plans::a14b(kShort, plans::kBf16, true)};
  EXPECT_FALSE(says(advised(machine, {same}), "--weights bf16"));
}

TEST(Advice, NothingIsSaidWhereNothingHelps) {
  Machine machine = plans::card(90'000'000'000, "H200");
  machine.disk = 1e12;
  EXPECT_EQ(advised(machine), std::vector<std::string>{});
}

}  // namespace
}  // namespace wan
