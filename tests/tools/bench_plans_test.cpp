// Every contest of wan-bench on the CPU at small sizes: all contestants run, agree with float64, and none is left out.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <sstream>

#include "tools/bench/ceilings.h"
#include "tools/bench/networks.h"
#include "tools/bench/ops.h"
#include "tools/bench/step_cache.h"

namespace wan::bench {
namespace {

Site small_site() {
  return {.device = at::kCPU,
          .dtype = at::kBFloat16,
          .config = {.dim = 64,
                     .ffn_dim = 96,
                     .freq_dim = 32,
                     .in_dim = 16,
                     .out_dim = 16,
                     .num_heads = 2,
                     .num_layers = 2,
                     .text_len = 8,
                     .eps = 1e-6},
          .resolutions = {{"small", 3, 4, 5}},
          .levels = {{8, 6, 10}}};
}

NetworkSizes small_sizes() {
  return {.vae_base = 4,
          .t5_tokens = 7,
          .latents = {{"small", {2, 4, 4}}},
          .t5 = {.vocabulary = 50, .dim = 16, .inner = 16, .heads = 2, .hidden = 24, .layers = 2},
          .check = {2, 3}};
}

Report measured(const std::vector<Plan>& plans) {
  const c10::InferenceMode inference;
  at::manual_seed(3);
  Report report;
  run_plans(plans, {wall_milliseconds, {.warmups = 1, .launches = 1, .sample_milliseconds = 1, .samples = 3}},
            Budget(1e9), report);
  return report;
}

void expect_whole(const Report& report, size_t rows) {
  EXPECT_EQ(report.rows.size(), rows);
  for (const LeftOut& item : report.left_out) ADD_FAILURE() << item.name << ", " << item.backend << ": " << item.why;
  for (const Row& row : report.rows) {
    EXPECT_EQ(row.milliseconds.size(), 3u) << row.name;
    EXPECT_GT(row.flops + row.bytes, 0) << row.name;
    EXPECT_LE(row.error, row.bound) << row.name;
  }
}

TEST(BenchPlans, Operations) {
  // Attention 3 cases x 2 back ends; linears 4 x 2 and the fused GELU; 4 elementwise x 2; convolution 6, norm 2; 13
  // storages of rows of 64 x 2 shapes, widened and as linears x 2; products in fp8 of 2 shapes x 2;
  // LoRAs beside 3 linears: the branch of 2 kinds, making it ready of 3 kinds, and folding it in.
  expect_whole(measured(ops_plans(small_site())), 6 + 9 + 8 + 8 + 13 * 2 * 3 + 4 + 18);
}

TEST(BenchPlans, ConvolutionsHaveTheNetworksLayout) {
  const Report report = measured(convolution_plans(small_site()));
  int seen = 0;
  for (const Row& row : report.rows) {
    if (!row.backend.starts_with("channels last")) continue;
    EXPECT_EQ(row.note, "weights channels last") << row.backend;
    ++seen;
  }
  EXPECT_EQ(seen, 3);
}

/// Cases of a suite at their real sizes: plans draw nothing before they are made.
std::vector<Plan> real_plans(const std::string& suite) {
  const Site site{.device = at::kCPU};
  if (suite == "step") return step_plans(site);
  if (suite == "vae") return vae_plans(site);
  return ops_plans(site);
}

TEST(BenchPlans, TheCheckOnAGpuAsksForCasesThatThereAre) {
  FILE* listing = popen("bash " WAN_SOURCE_DIR "/tools/gpu_check.sh --list", "r");
  ASSERT_TRUE(listing);
  char line[256];
  std::map<std::string, size_t> cases;
  while (fgets(line, sizeof line, listing)) {
    std::istringstream fields(line);
    std::string name, limit, suite, only;
    std::getline(fields, name, '|') && std::getline(fields, limit, '|') && std::getline(fields, suite, '|') &&
        std::getline(fields, only);
    if (only.empty()) continue;
    for (const Plan& plan : real_plans(suite))
      if ((plan.name + ", " + plan.shape).find(only) != std::string::npos) ++cases[name];
  }
  pclose(listing);
  EXPECT_EQ(cases.size(), 5u);
  EXPECT_GE(cases["step-720p"], 4u) << "forward, balanced, fast, both branches";
  EXPECT_GE(cases["ops-720p"], 10u);
  EXPECT_EQ(cases["vae"], 2u);
  EXPECT_EQ(cases["ops-vae"], 6u);
  EXPECT_GE(cases["step-480p"], 4u);
}

/// Widths that the 8-bit kernels take.
Site wider_site() {
  Site site = small_site();
  site.config.dim = 256;
  site.config.ffn_dim = 384;
  return site;
}

TEST(BenchPlans, WhatIsMissedLeastComesLast) {
  std::vector<std::string> names;
  for (const Plan& plan : step_plans(wider_site(), small_sizes())) names.push_back(plan.name);
  EXPECT_EQ(names.front(), "forward");
  EXPECT_EQ(names.back(), "forward, both guidance branches");
}

TEST(BenchPlans, EightBits) {
  const std::string linear = "kernels::linear_int8";
  const Report report = measured(ops_plans(wider_site()));
  // Beside those above: attention 3, linears 4, 2 norms x 3, and all 29 storages.
  expect_whole(report, 6 + 3 + 9 + 4 + 8 + 6 + 8 + 29 * 2 * 3 + 4 + 18);
  for (const Row& row : report.rows) {
    const bool eight = row.backend == linear || row.backend.starts_with("8+") || row.name.ends_with("8 bits");
    EXPECT_TRUE(!eight || row.error > 5e-3) << row.name << " " << row.error;
  }
  expect_whole(measured(block_plans(wider_site(), small_sizes())), 2 + 2);
  expect_whole(measured(step_plans(wider_site(), small_sizes())), 2 + 2);
}

TEST(BenchPlans, AWrongBackEndWouldBeSeen) {
  std::vector<Plan> plans = linear_plans(small_site());
  for (Plan& plan : coded_plans(small_site())) plans.push_back(std::move(plan));
  for (Plan& plan : plans)
    plan.make = [make = plan.make] {
      Contest contest = make();
      for (Contestant& contestant : contest.contestants)
        contestant.run = [run = contestant.run](size_t set) { return run(set).roll(1, 0); };
      return contest;
    };
  EXPECT_TRUE(measured(plans).rows.empty());
}

TEST(BenchPlans, Transformer) {
  const Site site = small_site();
  expect_whole(measured(block_plans(site, small_sizes())), 2);
  expect_whole(measured(step_cache_plans(site)), 2);
  const Report steps = measured(step_plans(site, small_sizes()));
  expect_whole(steps, 2);
  EXPECT_DOUBLE_EQ(steps.rows[1].flops, 2 * steps.rows[0].flops);
}

TEST(BenchPlans, AutoencoderAndTextEncoder) {
  // Three dtypes each way, and decoding in half with own windows and in tiles.
  expect_whole(measured(vae_plans(small_site(), small_sizes())), 8);
  expect_whole(measured(t5_plans(small_site(), small_sizes())), 2);
}

TEST(BenchPlans, CountsOfTheRealThing) {
  // 81 frames: 21 latent frames of (height / 16) x (width / 16) tokens.
  const Site real;
  EXPECT_EQ(real.resolutions[0].tokens(), 75600);
  EXPECT_EQ(real.resolutions[1].tokens(), 32760);
  EXPECT_EQ(real.resolutions[2].tokens(), 48384);
  EXPECT_EQ(real.resolutions[3].tokens(), 4096);
  EXPECT_GT(ops_plans(real).size(), 30u);
}

TEST(BenchPlans, Ceilings) {
  Report report;
  measure_ceilings(ceiling_probes(small_site(), 32, 1 << 16),
                   {wall_milliseconds, {.warmups = 1, .launches = 1, .samples = 3}}, report);
  for (const char* name : {"copy", "read", "bf16", "fp16"}) EXPECT_GT(report.ceilings[name], 0) << name;
}

}  // namespace
}  // namespace wan::bench
