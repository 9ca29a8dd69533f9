// Which jobs of a manifest belong to which shard, as arithmetic: nothing is rendered.
#include "engine/request/shard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <set>

#include "engine/base/error.h"
#include "engine/request/division.h"
#include "engine/request/parse.h"

namespace wan {
namespace {

using nlohmann::json;

Request job(int seed, const json& more = json::object()) {
  json fields = {{"task", "t2v"}, {"model", "m"}, {"prompt", "a cat"}, {"seed", seed}, {"unlocked", true}};
  fields.update(more);
  return parse(fields, {.need_model = false, .check_files = false});
}

std::vector<int64_t> shards(const std::vector<Request>& jobs, int64_t count) {
  std::vector<const Request*> requests;
  for (const Request& request : jobs) requests.push_back(&request);
  return shards_of(requests, count);
}

/// Jobs of several sizes, lengths and models, in no order.
std::vector<Request> mixed(int count) {
  std::vector<Request> jobs;
  std::mt19937 random(7);
  for (int i = 0; i < count; ++i)
    jobs.push_back(job(i, {{"num_frames", 5 + 4 * int(random() % 30)},
                           {"num_inference_steps", 1 + int(random() % 40)},
                           {"resolution", random() % 2 ? "480p" : "720p"},
                           {"prompt", "prompt " + std::to_string(random() % 9)},
                           {"model", "model " + std::to_string(random() % 3)}}));
  return jobs;
}

/// The sum of costs of each shard.
std::vector<int64_t> loads(const std::vector<Request>& jobs, int64_t count) {
  const std::vector<int64_t> found = shards(jobs, count);
  std::vector<int64_t> sums(size_t(count), 0);
  for (size_t i = 0; i < jobs.size(); ++i) sums[size_t(found[i])] += cost_of(jobs[i]);
  return sums;
}

std::string wrong(const std::string& text) {
  try {
    const Shard shard = read_shard(text);
    return "taken as " + shard.text();
  } catch (const InvalidRequest& invalid) {
    return invalid.what();
  }
}

TEST(Shard, EveryJobIsInOneOfThem) {
  const std::vector<Request> jobs = mixed(37);
  for (int64_t count = 1; count <= 50; ++count) {
    const std::vector<int64_t> found = shards(jobs, count);
    ASSERT_EQ(found.size(), jobs.size());
    for (const int64_t shard : found) {
      EXPECT_GE(shard, 0);
      EXPECT_LT(shard, count);
    }
  }
  EXPECT_TRUE(shards({}, 8).empty());
}

TEST(Shard, OfEqualJobsNoneIsIdleWhileAnotherHasTwo) {
  std::vector<Request> jobs;
  for (int i = 0; i < 37; ++i) jobs.push_back(job(i));
  for (int64_t count = 1; count <= 50; ++count) {
    const std::vector<int64_t> found = shards(jobs, count);
    const std::set<int64_t> used(found.begin(), found.end());
    EXPECT_EQ(int64_t(used.size()), std::min<int64_t>(count, 37)) << count;
  }
}

TEST(Shard, TheSameEachTimeAndWhereverItIsAsked) {
  std::vector<Request> jobs = mixed(60);
  for (size_t i = 0; i < jobs.size(); i += 2) jobs[i].image_url = i % 4 ? "in/a.png" : "in/./a.png";
  const std::vector<int64_t> found = shards(jobs, 7);
  EXPECT_EQ(shards(jobs, 7), found);
  for (Request& request : jobs) {
    request.out = "elsewhere.mp4";
    if (!request.image_url.empty()) request.image_url = std::filesystem::absolute(request.image_url).string();
  }
  EXPECT_EQ(shards(jobs, 7), found) << "the same manifest, named by its whole path";
}

TEST(Shard, CostsAreNearToEachOther) {
  for (const int64_t count : {2, 3, 8, 16}) {
    const std::vector<Request> jobs = mixed(200);
    int64_t largest = 0;
    for (const Request& request : jobs) largest = std::max(largest, cost_of(request));
    const std::vector<int64_t> sums = loads(jobs, count);
    const int64_t mean = std::accumulate(sums.begin(), sums.end(), int64_t(0)) / count;
    EXPECT_LE(*std::max_element(sums.begin(), sums.end()), mean + 1 + largest) << count;
  }
  // One long job and many short ones: by count it would be half and half.
  std::vector<Request> jobs = {job(0, {{"num_inference_steps", 40}})};
  for (int i = 1; i <= 40; ++i) jobs.push_back(job(i, {{"num_inference_steps", 1}}));
  const std::vector<int64_t> found = shards(jobs, 2);
  EXPECT_EQ(std::count(found.begin(), found.end(), found[0]), 1);
}

TEST(Shard, CostIsForwardsTimesTokens) {
  const json small = {{"width", 64}, {"height", 32}, {"num_frames", 9}, {"num_inference_steps", 4}};
  json plain = small;
  plain.update({{"guidance_scale", 1}, {"guidance_scale_2", 1}});
  EXPECT_EQ(cost_of(job(1, plain)), 4 * 3 * 4 * 2);
  EXPECT_EQ(cost_of(job(1, small)), 2 * 4 * 3 * 4 * 2);
  json none = small;
  none.update({{"task", "v2v"}, {"video_url", "https://example.com/a.mp4"}, {"strength", 0.0}});
  EXPECT_EQ(cost_of(job(1, none)), 1) << "a job without steps is one, too";
}

TEST(Shard, SeedsOfOnePromptAreSpreadAndModelsStayTogether) {
  std::vector<Request> jobs;
  for (int i = 0; i < 64; ++i) jobs.push_back(job(i));
  const std::vector<int64_t> spread = shards(jobs, 8);
  for (int64_t shard = 0; shard < 8; ++shard) EXPECT_EQ(std::count(spread.begin(), spread.end(), shard), 8) << shard;

  jobs.clear();
  std::map<int64_t, std::set<std::string>> models, pictures;
  for (int i = 0; i < 16; ++i) jobs.push_back(job(i, {{"model", i % 2 ? "a" : "b"}, {"prompt", std::to_string(i)}}));
  std::vector<int64_t> found = shards(jobs, 4);
  for (size_t i = 0; i < jobs.size(); ++i) models[found[i]].insert(jobs[i].model);
  for (const auto& [shard, names] : models) EXPECT_EQ(names.size(), 1u) << shard;

  jobs.clear();
  for (int i = 0; i < 16; ++i) jobs.push_back(job(i, {{"prompt", std::to_string(i)}}));
  for (size_t i = 0; i < jobs.size(); ++i) jobs[i].image_url = std::to_string(i % 4) + ".png";
  found = shards(jobs, 4);
  for (size_t i = 0; i < jobs.size(); ++i) pictures[found[i]].insert(jobs[i].image_url);
  for (const auto& [shard, names] : pictures) EXPECT_EQ(names.size(), 1u) << shard;
}

TEST(Shard, WhatHasOneResultIsNeverParted) {
  // Equal requests: their work folder tells them apart by number.
  std::vector<Request> jobs;
  for (int i = 0; i < 12; ++i) {
    jobs.push_back(job(i / 3));
    jobs.back().out = std::to_string(i) + ".mp4";
  }
  std::vector<int64_t> found = shards(jobs, 8);
  for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(found[i], found[i / 3 * 3]) << i;
  EXPECT_EQ(std::set<int64_t>(found.begin(), found.end()).size(), 4u);
  // A language server is asked once for a prompt.
  jobs.clear();
  for (int i = 0; i < 12; ++i) {
    jobs.push_back(job(i, {{"prompt", "prompt " + std::to_string(i / 6)}}));
    jobs.back().enable_prompt_expansion = true;
    jobs.back().expander_url = "http://127.0.0.1:8080";
  }
  found = shards(jobs, 4);
  for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(found[i], found[i / 6 * 6]) << i;
  EXPECT_NE(found[0], found[6]);
}

TEST(Shard, FormsAreReadAndWrongOnesNameTheWayOut) {
  EXPECT_EQ(read_shard("0/1"), (Shard{0, 1}));
  EXPECT_EQ(read_shard("3/8"), (Shard{3, 8}));
  EXPECT_EQ(read_shard("9999/10000").text(), "9999/10000");
  for (const char* text : {"", "0", "/", "1/", "/4", "-1/4", "1/-4", "1/0", "0/0", "a/b", "1/4/2", "1.0/4", " 1/4",
                           "1/4 ", "+1/4", "0x1/4", "1/10001", "1/99999999999999999999", "99999999999999999999/4"}) {
    const std::string told = wrong(text);
    EXPECT_TRUE(told.starts_with("[shard] must be I/N, as 0/8 to 7/8 for eight shards, got ")) << text << ": " << told;
    EXPECT_NE(told.find("; "), std::string::npos) << told;
  }
  for (const char* text : {"3/2", "2/2", "8/8", "4000000/8"}) {
    const std::string told = wrong(text);
    EXPECT_TRUE(told.starts_with("[shard] must be from 0/")) << told;
    EXPECT_NE(told.find("shards count from 0, as sbatch --array=0-"), std::string::npos) << told;
  }
  EXPECT_NE(wrong("8/8").find("must be from 0/8 to 7/8, got '8/8'"), std::string::npos) << wrong("8/8");
}

}  // namespace
}  // namespace wan
