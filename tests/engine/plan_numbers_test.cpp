// Numbers of a plan that its choices do not show: what a refusal wants, what is read ahead, streamed and loaded again.
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/residency/largest_fit.h"
#include "engine/residency/plan.h"
#include "tests/support/plans.h"

namespace wan {
namespace {

using plans::a14b;
using plans::card;
using plans::kBf16;

const Extent k480p{81, 480, 832}, k720p{81, 720, 1280};
constexpr uint64_t kGb = 1'000'000'000, kTextBlock = 385'900'000;

TEST(PlanNumbers, ARefusalNamesWhatIsNeededAndWhatIsThere) {
  const uint64_t needed = 470'000'000 + 2 * kBf16 + plans::demand(k720p).denoise;
  try {
    plan(a14b(k720p, kBf16), card(6 * kGb));
    FAIL() << "720p fits into 6 GB";
  } catch (const InvalidRequest& refused) {
    const std::string& line = refused.errors.at(0).wrong;
    EXPECT_TRUE(line.starts_with("must hold " + gigabytes(needed) + " for denoise at ")) << line;
    EXPECT_NE(line.find(", got " + gigabytes(6 * kGb) + " of "), std::string::npos) << line;
  }
  EXPECT_EQ(shortage(a14b(k720p, kBf16), card(needed - 1), k720p)->bytes, needed);
  EXPECT_FALSE(shortage(a14b(k720p, kBf16), card(needed), k720p));
}

TEST(PlanNumbers, AFileThatIsReadAheadIsNotWaitedFor) {
  Machine machine = card(40 * kGb);
  machine.disk = 0.5e9;  // 57 s for an expert, which the steps before hide
  const Plan ahead = plan(a14b(k480p, kBf16), machine);
  ASSERT_TRUE(ahead.prefetches_expert);
  ASSERT_GT(ahead.phase("high_noise")->seconds, 100);
  EXPECT_EQ(ahead.phase("low_noise")->load_seconds, 0);
  set_host(machine, 16 * kGb);
  EXPECT_GT(plan(a14b(k480p, kBf16), machine).phase("low_noise")->load_seconds, 10) << "the host has no room for it";
}

TEST(PlanNumbers, AStreamedTextEncoderIsCopiedForEachPrompt) {
  const Plan made = plan(a14b(k480p, plans::kQ4), card(8 * kGb));
  const PhasePlan& text = *made.phase("text");
  ASSERT_EQ(text.networks.at(0).residency, Residency::Streamed);
  EXPECT_EQ(text.streamed_bytes, 2 * uint64_t(24 - text.networks[0].kept_blocks) * kTextBlock);
}

TEST(PlanNumbers, SpeechThatMakesRoomForTheVaeIsLoadedForEachClip) {
  Workload work = a14b(k480p, kBf16);
  work.task = Task::S2V;
  for (Network expert : {Network::HighNoise, Network::LowNoise}) work.networks.erase(expert);
  work.networks[Network::Speech] = plans::network(Network::Speech, 40, kBf16, 470'000'000);
  work.networks[Network::AudioEncoder] = plans::network(Network::AudioEncoder, 0, 0, 1'200'000'000);
  work.high_steps = work.high_forwards = 0;
  const auto loads = [&](int64_t clips, uint64_t budget) {
    work.clips = clips;
    return plan(work, card(budget)).phase("speech")->load_seconds;
  };
  EXPECT_GT(loads(1, 20 * kGb), 1);
  EXPECT_DOUBLE_EQ(loads(3, 20 * kGb), 3 * loads(1, 20 * kGb));
  EXPECT_DOUBLE_EQ(loads(3, 90 * kGb), loads(1, 90 * kGb)) << "all stays";
}

}  // namespace
}  // namespace wan
