// Calibrations: the published ratios, what they say of other schedules, and files of strangers.
#include "engine/request/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/request/magcache_a14b.h"
#include "tests/support.h"

namespace wan {
namespace {

using nlohmann::json;

/// Steps of an expert: falling levels, and the ratio of each from the one before.
struct Run {
  bool high;
  std::vector<double> sigmas, ratios;
};

Calibration made_of(const std::vector<Run>& runs) {
  Calibration made;
  made.source = "'a.json'";
  made.solver = "unipc";
  made.shift = 5;
  made.boundary = 0.875;
  made.videos = 2;
  made.networks = {{"high_noise", "h", std::string(64, '1')}, {"low_noise", "l", std::string(64, '2')}};
  for (const Run& run : runs)
    for (size_t i = 0; i < run.sigmas.size(); ++i) {
      CalibratedStep step{.sigma = run.sigmas[i], .high = run.high, .changes = {}};
      if (i > 0) step.changes = {ResidualChange{run.ratios[i - 1], 0.125, 0.25}, ResidualChange{0.5, 0, 0}};
      made.steps.push_back(step);
    }
  return made;
}

const std::vector<Run> kTwo = {{true, {0.99, 0.95, 0.9}, {0.98, 0.9}}, {false, {0.8, 0.4}, {0.7}}};

std::string refusal(const std::string& text) {
  try {
    parse_calibration(text, "'a.json'");
    return "taken";
  } catch (const InvalidRequest& refused) {
    EXPECT_EQ(refused.errors.at(0).field, "calibration");
    EXPECT_EQ(refused.errors.size(), 1u);
    return refused.errors.at(0).wrong;
  }
}

TEST(Calibration, ThePublishedOnesAreOfBothExpertsAndTheOfficialSteps) {
  struct Row {
    Task task;
    int64_t high;        // steps of the high-noise expert
    double dip, second;  // the published ratio of the switch, which is left out, and that of the second step
  };
  for (const Row& row : {Row{Task::T2V, 26, 0.65523, 1.00124}, {Task::I2V, 15, 0.91076, 0.99191}}) {
    const Calibration& published = *magcache_a14b(row.task);
    ASSERT_EQ(published.steps.size(), 40u);
    for (size_t i = 0; i < published.steps.size(); ++i) {
      const CalibratedStep& step = published.steps[i];
      EXPECT_EQ(step.high, int64_t(i) < row.high);
      EXPECT_EQ(step.changes[kConditional].has_value(), i != 0 && int64_t(i) != row.high) << i;
      EXPECT_EQ(step.changes[kUnconditional].has_value(), i != 0 && int64_t(i) != row.high) << i;
      if (step.changes[kConditional]) {
        EXPECT_NE(step.changes[kConditional]->ratio, row.dip);
        EXPECT_LT(std::abs(step.changes[kConditional]->ratio - step.changes[kUnconditional]->ratio), 1.1e-3) << i;
      }
    }
    EXPECT_EQ(published.steps[1].changes[kConditional]->ratio, row.second);
  }
  EXPECT_EQ(magcache_a14b(Task::V2V), magcache_a14b(Task::T2V));
  EXPECT_EQ(magcache_a14b(Task::S2V), nullptr);
  // The last, of the whole list: nothing is shifted by one.
  EXPECT_EQ(magcache_a14b(Task::T2V)->steps[39].changes[kConditional]->ratio, 0.80263);
  EXPECT_EQ(magcache_a14b(Task::I2V)->steps[39].changes[kUnconditional]->ratio, 0.79902);
}

TEST(Calibration, AtItsOwnLevelsTheRatiosAreThoseThatWereMeasured) {
  const Calibration& published = *magcache_a14b(Task::T2V);
  for (size_t branch : {kConditional, kUnconditional})
    for (size_t i = 1; i < published.steps.size(); ++i) {
      const auto& change = published.steps[i].changes[branch];
      if (!change) continue;
      const NormOverSigma norm(published, published.steps[i].high, branch);
      const auto ratio = norm.ratio(published.steps[i - 1].sigma, published.steps[i].sigma);
      ASSERT_TRUE(ratio.has_value()) << i;
      EXPECT_NEAR(*ratio, change->ratio, 1e-12) << i;
    }
}

TEST(Calibration, ALongerStepHasTheProductOfTheRatiosThatItPasses) {
  const Calibration made = made_of(kTwo);
  const NormOverSigma norm(made, true, kConditional);
  EXPECT_NEAR(*norm.ratio(0.99, 0.9), 0.98 * 0.9, 1e-12);
  EXPECT_NEAR(*norm.ratio(0.97, 0.95), std::sqrt(0.98), 1e-12) << "half a step";
  EXPECT_NEAR(*norm.ratio(0.97, 0.925), std::sqrt(0.98 * 0.9), 1e-12);
  EXPECT_NEAR(*NormOverSigma(made, true, kUnconditional).ratio(0.99, 0.9), 0.25, 1e-12);
  EXPECT_NEAR(*NormOverSigma(made, false, kConditional).ratio(0.8, 0.4), 0.7, 1e-12) << "an expert of its own";
}

TEST(Calibration, BeyondTheMeasuredLevelsTheOutermostStepGoesOnOnce) {
  const Calibration made = made_of(kTwo);
  const NormOverSigma norm(made, true, kConditional);
  EXPECT_NEAR(*norm.ratio(1, 0.99), std::pow(0.98, 0.25), 1e-12);
  ASSERT_TRUE(norm.ratio(0.9, 0.86).has_value());
  EXPECT_NEAR(*norm.ratio(0.9, 0.86), std::pow(0.9, 0.8), 1e-12);
  EXPECT_FALSE(norm.ratio(0.9, 0.84).has_value()) << "further out than the last step is long";
  EXPECT_FALSE(NormOverSigma(made_of({{true, {0.9}, {}}}), true, kConditional).ratio(0.9, 0.85).has_value());
  const Calibration low = made_of({{false, {0.8, 0.75}, {0.9}}});
  EXPECT_FALSE(NormOverSigma(low, false, kConditional).ratio(0.99, 0.95).has_value()) << "levels of the other expert";
}

TEST(Calibration, ABranchThatWasNotMeasuredIsLikeTheOther) {
  Calibration made = made_of(kTwo);
  for (CalibratedStep& step : made.steps) step.changes[kUnconditional].reset();
  EXPECT_NEAR(*NormOverSigma(made, true, kUnconditional).ratio(0.99, 0.95), 0.98, 1e-12);
  EXPECT_EQ(refusal(to_text(made)), "taken");
}

TEST(Calibration, IsTheSameBehindAFile) {
  Calibration made = made_of(kTwo);
  made.dtype = "bf16";
  made.precision = "exact";
  made.width = 64;
  made.height = 48;
  made.num_frames = 17;
  made.guidance_scale = 3.5;
  made.guidance_scale_2 = 4;
  const TemporaryFolder folder;
  const std::string path = folder / "a.json";
  std::ofstream(path) << to_text(made);
  const Calibration read = read_calibration(path);
  EXPECT_EQ(read.steps, made.steps);
  EXPECT_EQ(read.networks, made.networks);
  EXPECT_EQ(to_text(read), to_text(made));
  EXPECT_NE(read.source.find("a.json"), std::string::npos);
  made.task = Task::S2V;
  for (CalibratedStep& step : made.steps) step.high = true;
  made.steps.resize(3);
  EXPECT_EQ(json::parse(to_text(made)).at("steps").at(0).at("expert"), "single");
  EXPECT_EQ(parse_calibration(to_text(made), "").steps, made.steps);
}

TEST(Calibration, NamesInNoEncodingAreWritten) {
  Calibration made = made_of(kTwo);
  made.networks[0].name = "h\xff.safetensors";
  EXPECT_EQ(parse_calibration(to_text(made), "'a.json'").networks[0].name, "h\xEF\xBF\xBD.safetensors");
}

TEST(Calibration, FilesThatAreNoneAreRefusedWithWhatIsWrong) {
  const json good = json::parse(to_text(made_of(kTwo)));
  EXPECT_EQ(refusal(good.dump()), "taken");
  const auto with = [&](const char* pointer, const json& value) {
    json other = good;
    other[json::json_pointer(pointer)] = value;
    return refusal(other.dump());
  };
  const auto without = [&](const char* member) {
    json other = good;
    other.erase(member);
    return refusal(other.dump());
  };
  for (const char* text : {"", "{", "[]", "{}", "7", "{\"kind\": 7}", "\xff", "{\"kind\": \"wan-infer calibration\"}"})
    EXPECT_TRUE(refusal(text).starts_with("must be a file that wan-infer calibrate wrote, and 'a.json' ")) << text;
  EXPECT_NE(refusal(std::string(100, '[')).find("cannot be read as JSON"), std::string::npos);
  for (const std::string& other : {with("/kind", "calibration of a camera"), with("/kind", 7), without("kind")})
    EXPECT_NE(other.find("is something else"), std::string::npos) << "though all else is there: " << other;
  for (const char* member : {"task", "solver", "shift", "boundary", "networks", "steps", "videos", "dtype"})
    EXPECT_NE(without(member).find(std::string("lacks ") + member), std::string::npos) << without(member);
  EXPECT_NE(with("/task", "t2i").find("names no task"), std::string::npos);
  for (const json& ratio : {json(0), json(-1), json(1e300), json("0.9"), json(nullptr), json::array()})
    EXPECT_NE(with("/steps/1/conditional/ratio", ratio).find("as ratio"), std::string::npos) << ratio;
  for (const json& sigma : {json(1.5), json(-0.1), json("x")})
    EXPECT_NE(with("/steps/0/sigma", sigma).find("as sigma"), std::string::npos) << sigma;
  EXPECT_NE(with("/steps/1/sigma", 0.99).find("do not fall"), std::string::npos);
  EXPECT_NE(with("/steps/0/expert", "single").find("names no expert of t2v"), std::string::npos);
  EXPECT_NE(with("/steps/4/expert", "high").find("behind the other"), std::string::npos);
  EXPECT_NE(with("/networks/0/weights", "12").find("64 hexadecimal digits"), std::string::npos);
  EXPECT_NE(with("/steps", json::array()).find("a list of 1 to 1000"), std::string::npos);
  json torn = good;
  torn["steps"][2].erase("unconditional");
  EXPECT_NE(refusal(torn.dump()).find("in step 2 (unconditional)"), std::string::npos);
  torn = good;
  torn["steps"][4].erase("conditional");
  EXPECT_NE(refusal(torn.dump()).find("in step 4 (conditional)"), std::string::npos);
  torn = good;
  torn["steps"][3]["conditional"] = torn["steps"][4]["conditional"];
  EXPECT_NE(refusal(torn.dump()).find("in step 3"), std::string::npos) << "across the switch";
}

TEST(Calibration, OfAFileThatIsNotThereOrTooLarge) {
  const TemporaryFolder folder;
  const auto refused = [](const std::string& path) -> std::string {
    try {
      read_calibration(path);
    } catch (const InvalidRequest& invalid) {
      return invalid.errors.at(0).wrong;
    }
    return "taken";
  };
  EXPECT_NE(refused(folder / "absent.json").find("cannot be read"), std::string::npos);
  EXPECT_NE(refused(folder.path()).find("cannot be read"), std::string::npos);
  std::ofstream(folder / "large.json") << std::string(5 << 20, ' ');
  EXPECT_NE(refused(folder / "large.json").find("is larger than"), std::string::npos);
}

TEST(Calibration, OfAnotherTaskIsRefused) {
  Calibration made = made_of(kTwo);
  EXPECT_NO_THROW(check_task(made, Task::T2V));
  EXPECT_NO_THROW(check_task(made, Task::V2V)) << "the same model";
  made.task = Task::V2V;
  EXPECT_NO_THROW(check_task(made, Task::T2V));
  for (Task task : {Task::I2V, Task::S2V}) try {
      check_task(made, task);
      ADD_FAILURE() << int(task);
    } catch (const InvalidRequest& refused) {
      EXPECT_NE(refused.errors.at(0).wrong.find("is of v2v; wan-infer calibrate "), std::string::npos);
    }
}

}  // namespace
}  // namespace wan
