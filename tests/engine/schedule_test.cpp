#include "engine/request/schedule.h"

#include <gtest/gtest.h>

#include "engine/request/guidance_interval.h"
#include "engine/request/presets.h"

namespace wan {
namespace {

Request request(const std::string& solver, int64_t steps, double shift, double boundary = 0.875) {
  Request result;
  result.solver = solver;
  result.num_inference_steps = steps;
  result.shift = shift;
  result.boundary = boundary;
  result.guidance_scale = 4;
  result.guidance_scale_2 = 3;
  return result;
}

std::vector<double> timesteps(const Request& request) {
  std::vector<double> result;
  for (const Step& step : make_schedule(request)) result.push_back(step.t);
  return result;
}

TEST(Schedule, TablesOfTheReference) {
  // Made with numpy as wan/utils/fm_solvers*.py do.
  EXPECT_EQ(timesteps(request("unipc", 4, 12)), (std::vector<double>{999, 972, 922, 799}));
  EXPECT_EQ(timesteps(request("dpm++", 4, 12)), (std::vector<double>{1000, 972, 923, 800}));
  EXPECT_EQ(timesteps(request("dpm++", 4, 5)), (std::vector<double>{1000, 937, 833, 625}));
  EXPECT_EQ(timesteps(request("euler", 3, 5)),
            (std::vector<double>{1000, double(float(5 * (2 / 3.) / (1 + 4 * (2 / 3.)) * 1000)),
                                 double(float(5 * (1 / 3.) / (1 + 4 * (1 / 3.)) * 1000))}));
}

TEST(Schedule, LinspaceIsNumpys) {
  EXPECT_EQ(timesteps(request("dpm++", 26, 12))[17], 863);  // 863.9999999999999; float32 gives 864
  EXPECT_EQ(timesteps(request("dpm++", 6, 5))[5], 500);     // 1 - i / n gives 499
  EXPECT_EQ(timesteps(request("dpm++", 7, 12))[4], 900);    // (n - i) / n gives 899
}

TEST(Schedule, UnipcStartsAtTheFloat32Of0999) {
  EXPECT_EQ(timesteps(request("unipc", 6, 1))[2], 666);  // 665 from 0.999 in double
  EXPECT_EQ(flow_sigmas(SolverKind::UniPc, 6, 1).front(), double(0.999f));
}

TEST(Schedule, SigmasAreRoundedToFloat32AndEndAtZero) {
  const Schedule steps = make_schedule(request("unipc", 7, 5));
  std::vector<double> sigmas = flow_sigmas(SolverKind::UniPc, 7, 5);
  ASSERT_EQ(steps.size(), 7);
  for (int64_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].index, i);
    EXPECT_EQ(steps[i].sigma, float(sigmas[size_t(i)]));
  }
  EXPECT_EQ(steps.sigmas(), std::vector<float>(sigmas.begin(), sigmas.end()));
  EXPECT_EQ(steps.sigmas().back(), 0);
}

TEST(Schedule, GuidanceWorksInItsIntervalAlone) {
  Request asked = request("euler", 4, 1);  // levels 1, 0.75, 0.5, 0.25
  const auto guidance = [&](const char* interval) {
    asked.guidance_interval = interval;
    std::vector<double> all;
    for (const Step& step : make_schedule(asked)) all.push_back(step.guidance);
    return all;
  };
  EXPECT_EQ(guidance("0:1"), (std::vector<double>{4, 3, 3, 3}));
  EXPECT_EQ(guidance("0.25:0.75"), (std::vector<double>{1, 3, 3, 1})) << "above the lower, up to the higher";
  EXPECT_EQ(guidance("0.6:0.7"), std::vector<double>(4, 1));
  EXPECT_FALSE(make_schedule(asked).guides()) << "no negative prompt is encoded";
  asked.guidance_until = 0.5;
  EXPECT_EQ(guidance("0:0.75"), (std::vector<double>{1, 3, 3, 1})) << "both hold";
}

TEST(Schedule, NoLevelIsAboveOne) {
  for (int hundredths = 1; hundredths <= 1000; ++hundredths) {
    const double shift = hundredths / 100.0;
    for (const SolverKind solver : {SolverKind::Euler, SolverKind::UniPc})
      EXPECT_LE(flow_sigmas(solver, 4, shift).front(), 1) << shift;
    for (const Preset& preset : presets())
      for (const double level : preset_sigmas(preset, shift)) EXPECT_LE(level, 1) << preset.name << ' ' << shift;
  }
}

TEST(Schedule, AnIntervalTakesLevelsAsTheyWereGiven) {
  Request asked = request("euler", 3, 1);
  asked.sigmas = {0.9, 0.6, 0.3};  // in float32 0.6 and 0.3 lie above themselves
  asked.guidance_interval = "0.3:0.6";
  std::vector<double> all;
  for (const Step& step : make_schedule(asked)) all.push_back(step.guidance);
  EXPECT_EQ(all, (std::vector<double>{1, 3, 1}));
}

TEST(Schedule, AnIntervalWithoutAnyLevelIsTold) {
  Request asked = request("euler", 4, 1);  // levels 1, 0.75, 0.5, 0.25
  const auto told = [&](const char* interval) {
    asked.guidance_interval = interval;
    return guides_nowhere(asked, make_schedule(asked)).has_value();
  };
  EXPECT_TRUE(told("0.6:0.7"));
  EXPECT_FALSE(told("0.6:0.75"));
  EXPECT_FALSE(told("0:1"));
  asked.sigmas = {0.9, 0.6, 0.3};
  EXPECT_TRUE(told("0.6:0.7")) << "in float32 0.6 lies above itself";
  EXPECT_FALSE(told("0.5:0.6"));
  asked.guidance_scale = asked.guidance_scale_2 = 1;
  EXPECT_FALSE(told("0.6:0.7")) << "it would not guide anyway";
}

TEST(Schedule, TheHighNoiseExpertWorksAtTheBoundaryToo) {
  const Schedule steps = make_schedule(request("dpm++", 19, 12));
  int at_boundary = 0;
  for (const Step& step : steps) {
    at_boundary += step.t == 875;
    EXPECT_EQ(step.high, step.t >= 875) << step.t;
    EXPECT_EQ(step.guidance, step.t >= 875 ? 4 : 3);
  }
  EXPECT_EQ(at_boundary, 1);
  const Schedule picture = make_schedule(request("dpm++", 4, 3, 0.9));
  EXPECT_EQ(picture[1].t, 900);
  EXPECT_TRUE(picture[1].high);
  EXPECT_FALSE(picture[2].high);
  EXPECT_EQ(picture.first_low(), 2);
}

TEST(Schedule, GuidanceEndsBelowItsLevel) {
  Request phases = request("step_distill", 8, 5, 0.8);
  phases.guidance_until = 0.9375;
  std::string seen;
  for (const Step& step : make_schedule(phases)) seen += step.guidance == 1 ? "1" : step.high ? "h" : "l";
  EXPECT_EQ(seen, "hhh11111");  // 1000, 972.2, 937.5: at the level it works still
  phases.guidance_until = 0;
  EXPECT_EQ(make_schedule(phases)[7].guidance, 3);
  EXPECT_EQ(make_schedule(phases)[1].t, double(float(1000 * 5 * 0.875 / (1 + 4 * 0.875))));
}

TEST(Schedule, ExplicitSigmasAreTaken) {
  Request few = request("euler", 2, 5);
  few.sigmas = {1.0, 0.9375, 0.625};
  EXPECT_EQ(timesteps(few), (std::vector<double>{1000, 937.5, 625}));
  few.solver = "unipc";
  EXPECT_EQ(timesteps(few), (std::vector<double>{1000, 937, 625}));
  EXPECT_EQ(make_schedule(few).sigmas(), (std::vector<float>{1, 0.9375, 0.625, 0}));
}

TEST(Schedule, StrengthKeepsTheLastSteps) {
  Request video = request("unipc", 100, 5);
  video.task = Task::V2V;
  const std::vector<double> all = flow_sigmas(SolverKind::UniPc, 100, 5);
  for (auto [strength, kept] : {std::pair(0.29, 28), {0.3, 30}, {1.0, 100}, {0.0, 0}, {0.009, 0}}) {
    video.strength = strength;
    const Schedule steps = make_schedule(video);
    ASSERT_EQ(steps.size(), kept) << strength;
    if (kept == 0) continue;
    EXPECT_EQ(steps[0].index, 100 - kept);
    EXPECT_EQ(steps[0].sigma, float(all[size_t(100 - kept)]));
  }
}

}  // namespace
}  // namespace wan
