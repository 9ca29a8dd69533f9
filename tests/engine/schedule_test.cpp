#include "engine/request/schedule.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(flow_sigmas("unipc", 6, 1).front(), double(0.999f));
}

TEST(Schedule, SigmasAreRoundedToFloat32AndEndAtZero) {
  std::vector<Step> steps = make_schedule(request("unipc", 7, 5));
  std::vector<double> sigmas = flow_sigmas("unipc", 7, 5);
  ASSERT_EQ(steps.size(), 7u);
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].index, int64_t(i));
    EXPECT_EQ(steps[i].sigma, float(sigmas[i]));
    EXPECT_EQ(steps[i].sigma_next, float(sigmas[i + 1]));
  }
  EXPECT_EQ(steps.back().sigma_next, 0);
}

TEST(Schedule, TheHighNoiseExpertWorksAtTheBoundaryToo) {
  std::vector<Step> steps = make_schedule(request("dpm++", 19, 12));
  int at_boundary = 0;
  for (const Step& step : steps) {
    at_boundary += step.t == 875;
    EXPECT_EQ(step.high, step.t >= 875) << step.t;
    EXPECT_EQ(step.guidance, step.t >= 875 ? 4 : 3);
  }
  EXPECT_EQ(at_boundary, 1);
  std::vector<Step> picture = make_schedule(request("dpm++", 4, 3, 0.9));
  EXPECT_EQ(picture[1].t, 900);
  EXPECT_TRUE(picture[1].high);
  EXPECT_FALSE(picture[2].high);
}

TEST(Schedule, ExplicitSigmasAreTaken) {
  Request few = request("euler", 2, 5);
  few.sigmas = {1.0, 0.9375, 0.625};
  EXPECT_EQ(timesteps(few), (std::vector<double>{1000, 937.5, 625}));
  few.solver = "unipc";
  EXPECT_EQ(timesteps(few), (std::vector<double>{1000, 937, 625}));
  EXPECT_EQ(make_schedule(few)[2].sigma_next, 0);
}

TEST(Schedule, StrengthKeepsTheLastSteps) {
  Request video = request("unipc", 100, 5);
  video.task = Task::V2V;
  const std::vector<double> all = flow_sigmas("unipc", 100, 5);
  for (auto [strength, kept] : {std::pair(0.29, 28u), {0.3, 30u}, {1.0, 100u}, {0.0, 0u}, {0.009, 0u}}) {
    video.strength = strength;
    std::vector<Step> steps = make_schedule(video);
    ASSERT_EQ(steps.size(), kept) << strength;
    if (kept == 0) continue;
    EXPECT_EQ(steps.front().index, 100 - int64_t(kept));
    EXPECT_EQ(steps.front().sigma, float(all[100 - kept]));
  }
}

}  // namespace
}  // namespace wan
