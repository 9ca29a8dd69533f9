#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support.h"
#include "tools/bench/counted_work.h"
#include "tools/bench/interpolate.h"

namespace wan::bench {
namespace {

at::Tensor planned(at::IntArrayRef sizes) {
  return at::empty(sizes, at::TensorOptions(at::kMeta).dtype(at::kHalf));
}

}  // namespace

TEST(CountedWork, IsThatOfEachOperation) {
  const c10::InferenceMode inference;
  const at::Tensor x = planned({1, 16, 8, 8}), weight = planned({32, 16, 3, 3}),
                   index = at::empty({5}, at::TensorOptions(at::kLong).device(at::kMeta));
  const CountedWork convolution = counted_work([&] { at::conv2d(x, weight, {}, 1, 1); });
  EXPECT_EQ(convolution.flops, 2.0 * 32 * 64 * 16 * 9);
  EXPECT_EQ(convolution.bytes, 2.0 * (16 * 64 + 32 * 16 * 9 + 32 * 64));
  EXPECT_EQ(convolution.operations, 1);

  EXPECT_EQ(counted_work([&] { x.narrow(1, 0, 4).permute({0, 2, 3, 1}).unsqueeze(0); }).operations, 0);
  EXPECT_EQ(counted_work([&] { at::empty_like(x); }).bytes, 0);
  EXPECT_EQ(counted_work([&] { x.to(at::kHalf); }).bytes, 0);
  EXPECT_EQ(counted_work([&] { x.narrow(1, 0, 4).clone(); }).bytes, 2.0 * 2 * 4 * 64);
  // What is written over is not read.
  EXPECT_EQ(counted_work([&] { x.copy_(planned({1, 16, 8, 8})); }).bytes, 2.0 * 2 * 1024);
  EXPECT_EQ(counted_work([&] { x.zero_(); }).bytes, 2.0 * 1024);
  EXPECT_EQ(counted_work([&] { x.mul(2); }).bytes, 2.0 * 2 * 1024);
  EXPECT_EQ(counted_work([&] { x.mul_(2); }).bytes, 2.0 * 2 * 1024);
  // A row that is repeated lies in memory once.
  EXPECT_EQ(counted_work([&] { x.copy_(planned({1, 16, 1, 8}).expand({1, 16, 8, 8})); }).bytes, 2.0 * (1024 + 128));
  EXPECT_EQ(counted_work([&] { planned({100, 4}).index_select(0, index); }).bytes, 2.0 * 2 * 20 + 5 * 8);
}

TEST(BenchInterpolate, MeasuresBothNetworksAndReckonsWithACard) {
  const c10::InferenceMode inference;
  InterpolateOptions options;
  options.height = 40, options.width = 70, options.runs = 2;
  options.card = {.name = "card", .flops = 1e12, .bandwidth = 1e11, .link = 1e6};
  options.in_process = true;
  std::stringstream out;
  std::vector<std::string> lines;
  interpolate(options, out, [&](const std::string& line) { lines.push_back(line); });
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(out.str(), lines[0] + lines[1]);
  for (const std::string& line : lines) {
    SCOPED_TRACE(line);
    const auto row = nlohmann::json::parse(line);
    EXPECT_EQ(row["name"], &line == &lines[0] ? "film" : "rife");
    EXPECT_EQ(row["weights"], "drawn");
    for (const char* name : {"frame_seconds", "between_seconds", "pair_cpu_seconds", "rss_above_bytes"})
      EXPECT_GT(row[name], 0) << name;
    EXPECT_GT(row["rss_peak_bytes"], row["rss_above_bytes"]);
    const double measured = row["activation_peak_bytes"], said = row["activation_planned_bytes"];
    EXPECT_NEAR(measured / said, 1, 0.1);
    const auto& card = row["card"];
    EXPECT_EQ(card["measured"], false);
    // The operations on a card are those of the formulas; FILM's bands see some rows twice, RIFE's edges some columns.
    for (const char* part : {"frame", "between"}) {
      const double counted = card[part]["flops"], formula = row[part + std::string("_flops")];
      EXPECT_NEAR(counted / formula, 1, 0.1) << part;
      EXPECT_GT(card[part]["bytes"], row["frame_bytes"].get<double>() / 2) << part;
    }
    const double seconds =
        (81 * card["frame"]["flops"].get<double>() + 80 * card["between"]["flops"].get<double>()) / 1e12;
    EXPECT_NEAR(card["clip_arithmetic_seconds"], seconds, 1e-4);
    EXPECT_NEAR(card["clip_link_seconds"], 161 * 40 * 70 * 3 / 1e6, 1e-4);
  }
}

TEST(BenchInterpolate, RefusesOtherNetworksAndSizes) {
  const auto refused = [](const InterpolateOptions& options) {
    std::stringstream out;
    try {
      interpolate(options, out);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return out.str() + "nothing was refused";
  };
  InterpolateOptions options;
  options.networks = {"amt"};
  EXPECT_EQ(refused(options), "[interpolate] a network must be film or rife, got 'amt'");
  options = {};
  options.height = 15;
  EXPECT_EQ(refused(options), "[interpolate] frames must have sides from 16 on, got 1280x15");
}

}  // namespace wan::bench
