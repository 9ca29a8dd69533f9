// What jobs would have cost at the hosted endpoints.
#include <gtest/gtest.h>

#include "engine/serve/api/page.h"
#include "engine/serve/queue/job_json.h"
#include "tests/serve/queue_jobs.h"

namespace wan::serve {
namespace {

Job made_job(const char* endpoint, nlohmann::json fields) {
  Job job = a_job();
  job.endpoint = endpoint;
  job.fields = std::move(fields);
  job.status = JobStatus::Done;
  job.output = JobOutput{.file = "v.mp4", .bytes = 1, .seed = 1, .prompt = "", .seconds = 9};
  return job;
}

/// Of the one job of a store.
std::optional<double> cost_of(const Job& job) {
  const QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  store->apply({PutJob{job}});
  const std::vector<MadeVideos> made = store->made_videos(job.owner);
  EXPECT_EQ(made.size(), 1u);
  return hosted_cost(made.at(0), hosted_prices());
}

constexpr const char *kVideo = "fal-ai/wan/v2.2-a14b/video-to-video", *kText = "fal-ai/wan/v2.2-a14b/text-to-video",
                     *kWaveSpeed = "wavespeed-ai/wan-2.2/speech-to-video";

TEST(HostedCost, FollowsFromTheFramesThatWereAskedFor) {
  const auto cost = cost_of(made_job(kVideo, {{"resolution", "720p"}, {"num_frames", 80}}));
  ASSERT_TRUE(cost.has_value());
  EXPECT_DOUBLE_EQ(*cost, 0.08 * 5);
  EXPECT_FALSE(cost_of(made_job(kText, {{"resolution", "720p"}, {"num_frames", 80}})).has_value());
}

TEST(HostedCost, FollowsFromTheVideoWhereNoLengthWasAskedFor) {
  Job speech = made_job(kWaveSpeed, {{"resolution", "480p"}, {"max_seconds", 120}});
  EXPECT_FALSE(cost_of(speech).has_value()) << "its length is not known";
  speech.output->video_seconds = 12;
  const auto cost = cost_of(speech);
  ASSERT_TRUE(cost.has_value());
  EXPECT_DOUBLE_EQ(*cost, 0.03 * 12);
  // Frames count, not the time that they are shown for.
  Job video = made_job(kVideo, {{"resolution", "480p"}, {"frames_per_second", 32}});
  video.output->video_seconds = 2;
  EXPECT_DOUBLE_EQ(cost_of(video).value_or(0), 0.04 * 4);
}

TEST(HostedCost, OfAJobIsThatOfItsVideo) {
  Job speech = made_job(kWaveSpeed, {{"resolution", "480p"}, {"max_seconds", 120}});
  speech.output->video_seconds = 12;
  EXPECT_DOUBLE_EQ(hosted_cost(speech, hosted_prices()).value_or(0), cost_of(speech).value_or(-1));
  speech.output.reset();
  EXPECT_FALSE(hosted_cost(speech, hosted_prices()).has_value()) << "it has none";
}

TEST(JobOutputs, OfEarlierVersionsHaveNoLength) {
  nlohmann::ordered_json json =
      JobOutput{.file = "v", .bytes = 1, .seed = 2, .prompt = "p", .seconds = 3, .video_seconds = 4};
  EXPECT_EQ(json.get<JobOutput>().video_seconds, 4);
  json.erase("video_seconds");
  EXPECT_EQ(json.get<JobOutput>().video_seconds, 0);
}

}  // namespace
}  // namespace wan::serve
