// Memory of a card that another program takes and gives back while a job runs: fewer or more blocks stay, the bytes of
// the video are the same.
#include <algorithm>

#include "engine/job/network_pool.h"
#include "engine/residency/lying.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

/// Stands for a card that another program uses, too: that gets what it wants as soon as a network has gone.
struct SharedCard {
  explicit SharedCard(uint64_t bytes) : left(bytes) {}
  uint64_t left;  // for us
  int64_t looks = 0;
  DeviceBudget::Look look() {
    return [this](uint64_t) {
      ++looks;
      return DeviceRoom{left, left};
    };
  }
};

class PhaseMemory : public DeviceMemory {
 protected:
  /// Hears each event before `then` does.
  static Log heard(Told& told, std::function<void(std::string_view, const Log::Fields&)> then) {
    return Log{[&told, then = std::move(then)](std::string_view event, const Log::Fields& fields) {
      told.log(event, fields);
      then(event, fields);
    }};
  }
  std::string rendered_on(SharedCard& card, const Request& request, const Log& log) {
    Silent silent;
    const std::string out = render(request, {.save_every = {}, .budget_look = card.look()}, log, silent);
    std::string bytes = bytes_of(out);
    fs::remove(out);
    return bytes;
  }
  /// What the high-noise expert wants for none of its blocks to stay: three slots, and room for the other expert.
  static uint64_t for_no_kept_block(const Request& request) {
    const Workload work = workload(request);
    const NetworkSizes& high = work.networks.at(Network::HighNoise);
    const NetworkSizes both = joined(high, work.networks.at(Network::LowNoise));
    return both.outside + 3 * both.slot() + activations_of(work).denoise;
  }
  static void expect_no_ladder(const Told& told) {
    for (const std::string& text : told.memory) EXPECT_EQ(text.find("ran out"), std::string::npos) << text;
  }
};

TEST_F(PhaseMemory, TakenBetweenTwoPhasesLeavesFewerBlocksAndTheSameBytes) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const auto [least, all] = limits_of(wanted);
  for (const std::string taken_after : {"", "prompts", "high_noise", "low_noise"}) {
    SCOPED_TRACE("taken after: " + taken_after);
    SharedCard card(taken_after.empty() ? least : all);
    Told told;
    bool taken = taken_after.empty();
    const Log log = heard(told, [&, least = least](std::string_view event, const Log::Fields& fields) {
      if (event != "phase") return;
      const std::string phase = fields.at("phase");
      if (taken) {
        EXPECT_LE(fields.value("device_bytes", uint64_t(0)), least) << phase;
      }
      if (phase == taken_after) {
        card.left = least;
        taken = true;
      }
    });
    EXPECT_TRUE(rendered_on(card, limited(wanted, all), log) == want);
    EXPECT_TRUE(taken);
    expect_no_ladder(told);
    EXPECT_GE(told.memory.size(), 1u) << "what differs from the plan is told";
    EXPECT_EQ(told.streamed.at("high-noise expert") > 0, taken_after.empty() || taken_after == "prompts");
    EXPECT_EQ(told.device.at("left_bytes"), 0);
  }
}

TEST_F(PhaseMemory, GivenBackKeepsMoreBlocksAgain) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const uint64_t all = limits_of(wanted).second, little = for_no_kept_block(wanted);
  ASSERT_LT(little, all);
  SharedCard card(all);
  Told told;
  const Log log = heard(told, [&](std::string_view event, const Log::Fields& fields) {
    if (event == "phase" && fields.at("phase") == "prompts") card.left = little;
    if (event == "phase" && fields.at("phase") == "high_noise") card.left = all;
  });
  EXPECT_TRUE(rendered_on(card, limited(wanted, all), log) == want);
  EXPECT_EQ(told.streamed.at("high-noise expert"), 6) << "none of its blocks stays";
  EXPECT_LE(told.phases.at("high_noise"), little);
  EXPECT_EQ(told.streamed.at("low-noise expert"), 0) << "all stay, though some were brought in with less";
  expect_no_ladder(told);
  const std::string numbers = gigabytes(little) + " may be taken of the device now, " + gigabytes(all);
  const auto tells = [&](const std::string& words) {
    return std::ranges::any_of(told.memory, [&](const std::string& text) {
      return text.find(words) != std::string::npos && text.find(numbers) != std::string::npos;
    });
  };
  EXPECT_TRUE(tells("one network at a time is on the device"));
  EXPECT_TRUE(tells("0 of 6 blocks stay on the device, 6 were planned"));
}

TEST_F(PhaseMemory, WithoutAChangeNothingIsToldAndNothingLiesElsewhere) {
  const Request wanted = request(Task::T2V, kNano);
  const auto [least, all] = limits_of(wanted);
  for (const uint64_t limit : {least, least + (all - least) / 4, all}) {
    SCOPED_TRACE(limit);
    Told fixed, looked;
    SharedCard card(all);  // more than the user allows
    EXPECT_TRUE(rendered(limited(wanted, limit), fixed) == rendered_on(card, limited(wanted, limit), looked.log));
    EXPECT_GE(card.looks, 4) << "text encoder, both experts, VAE";
    EXPECT_TRUE(looked.memory.empty()) << looked.memory.at(0);
    EXPECT_EQ(looked.streamed, fixed.streamed);
    EXPECT_EQ(looked.phases, fixed.phases);
  }
}

TEST_F(PhaseMemory, GivenBackAtTheSwitchLeavesNothingOfTheHighNoiseExpert) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const uint64_t all = limits_of(wanted).second, little = for_no_kept_block(wanted);
  SharedCard card(all);
  Told told;
  int64_t loads = 0;
  const Log log = heard(told, [&](std::string_view event, const Log::Fields& fields) {
    if (event == "phase" && fields.at("phase") == "prompts") card.left = little;
    if (event != "load" || fields.at("network") != "low-noise expert") return;
    ++loads;  // the first time it takes the place of the other one, block by block
    card.left = all;
  });
  EXPECT_TRUE(rendered_on(card, limited(wanted, all), log) == want);
  EXPECT_LE(told.phases.at("high_noise"), little);
  EXPECT_EQ(loads, 2) << "ahead, and anew where it has room";
  const Workload work = workload(wanted);
  EXPECT_LE(told.phases.at("low_noise"), work.networks.at(Network::LowNoise).device() + activations_of(work).denoise)
      << "both experts were there";
  EXPECT_EQ(told.device.at("left_bytes"), 0);
}

/// Takes memory in the first job's high-noise steps, and gives it back in those of the second.
struct Neighbour : Progress {
  Neighbour(SharedCard& card, uint64_t little, uint64_t all) : card(card), little(little), all(all) {}
  void at(const Report& report) override {
    if (report.stage != Stage::Denoise || report.expert != "high" || report.step != 1) return;
    card.left = report.job.starts_with("1/2") ? little : all;
  }
  SharedCard& card;
  const uint64_t little, all;
};

TEST_F(PhaseMemory, EachJobOfABatchAsksAgain) {
  const Request first = request(Task::T2V, kNano),
                second = request(Task::T2V, kNano, {{"seed", 4}, {"out", (folder_ / "b.mp4").string()}});
  const std::string want[] = {rendered(first), rendered(second)};
  const uint64_t all = limits_of(first).second, little = for_no_kept_block(first);
  SharedCard card(all);
  Neighbour progress(card, little, all);
  Told told;
  std::vector<std::pair<std::string, int64_t>> loads;
  const Log log = heard(told, [&](std::string_view event, const Log::Fields& fields) {
    if (event == "load" && fields.at("network").get<std::string>().ends_with("expert"))
      loads.emplace_back(fields.at("network").get<std::string>(), fields.at("blocks_streamed").get<int64_t>());
  });
  WorkFolder work(folder_ / "work", 1);
  const RunResult result =
      run_jobs({{.line = 1, .request = limited(first, all)}, {.line = 2, .request = limited(second, all)}}, work,
               {.save_every = {}, .budget_look = card.look()}, log, progress);
  ASSERT_EQ(result.count(JobState::Done), 2) << result.jobs.at(0).error << result.jobs.at(1).error;
  EXPECT_TRUE(bytes_of(first.out) == want[0]);
  EXPECT_TRUE(bytes_of(second.out) == want[1]);
  const std::vector<std::pair<std::string, int64_t>> expected = {
      {"high-noise expert", 0}, {"high-noise expert", 6}, {"low-noise expert", 0}};
  EXPECT_EQ(loads, expected) << "the second job's blocks are streamed, the low-noise expert is brought in whole";
  expect_no_ladder(told);
}

TEST_F(PhaseMemory, TooLittleIsALineWithBothNumbersAndLosesNoStep) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const uint64_t all = limits_of(wanted).second;
  const Request under = limited(wanted, all);
  SharedCard card(all);
  Told told, next;
  const Log log = heard(told, [&](std::string_view event, const Log::Fields& fields) {
    if (event == "phase" && fields.at("phase") == "high_noise") card.left = 1000;
  });
  try {
    rendered_on(card, under, log);
    ADD_FAILURE() << "1000 bytes are enough";
  } catch (const InvalidRequest& refused) {
    const std::string line = refused.errors.at(0).line();
    EXPECT_TRUE(line.starts_with("[memory] must be at least ")) << line;
    EXPECT_NE(line.find("got " + gigabytes(1000) + " where " + gigabytes(all) + " could be taken when the job began"),
              std::string::npos)
        << line;
  }
  EXPECT_EQ(told.device.at("left_bytes"), 0);
  Steps rest;
  EXPECT_TRUE(rendered(under, next, {}, &rest) == want);
  EXPECT_EQ(rest.made, 2) << "those of the low-noise expert";
}

TEST_F(PhaseMemory, TooLittleBeforeTheFirstStepLosesNoEncoding) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const uint64_t all = limits_of(wanted).second;
  SharedCard card(all);
  Told told, next;
  const Log log = heard(told, [&](std::string_view event, const Log::Fields& fields) {
    if (event == "phase" && fields.at("phase") == "prompts") card.left = 1000;
  });
  EXPECT_THROW(rendered_on(card, limited(wanted, all), log), InvalidRequest);
  EXPECT_EQ(told.streamed.count("text encoder"), 1u);
  EXPECT_TRUE(rendered(limited(wanted, all), next) == want);
  EXPECT_EQ(next.streamed.count("text encoder"), 0u) << "the prompts are encoded anew";
  EXPECT_EQ(next.streamed.count("high-noise expert"), 1u);
}

TEST_F(PhaseMemory, JobsOfDifferentLimitsShareNoNetworksAlsoWhereLessIsFree) {
  const uint64_t much = uint64_t(1) << 50;  // more than any machine has
  NetworkPool pool{Log{}};
  const auto group = [&](const Request& wanted) { return &pool.group_of(wanted, resolve_placement(wanted)); };
  const Request plain = request(Task::T2V, kNano), one = limited(plain, much), two = limited(plain, 2 * much);
  ASSERT_EQ(resolve_placement(one).budget->field(), "memory");
  EXPECT_EQ(group(one), group(one));
  EXPECT_NE(group(one), group(two));
  EXPECT_NE(group(one), group(plain));
  EXPECT_EQ(group(plain), group(plain));
}

TEST_F(PhaseMemory, ALookIsHeldUnderWhatTheUserAllows) {
  SharedCard card(5000);
  const auto budget = resolve_placement(limited(request(Task::T2V, kNano), 2000), nullptr, {}, card.look()).budget;
  EXPECT_FALSE(budget->look_again(0));
  EXPECT_EQ(budget->limit(), 2000u);
  card.left = 1500;
  EXPECT_TRUE(budget->look_again(0));
  EXPECT_EQ(budget->limit(), 1500u);
  EXPECT_EQ(budget->field(), "memory") << "not what the user allowed";
  card.left = 5000;
  EXPECT_TRUE(budget->look_again(0));
  EXPECT_EQ(budget->limit(), 2000u);
  EXPECT_EQ(budget->field(), "device_memory");
}

}  // namespace
}  // namespace wan
