// Batches of the tiny checkpoint in shards: their files equal those of one run, in whatever division they came about.
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "engine/job/batch_folder.h"
#include "engine/job/scheduler.h"
#include "engine/request/division.h"
#include "tests/support.h"
#include "tests/support/chat_server.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const std::string kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";
constexpr const char* kRed = "a red circle moves to the right on a black background";
constexpr const char* kBlue = "a blue square moves up on a gray background";

/// A manifest, its work folder and its outputs in a folder of their own.
struct Scene {
  void add(const nlohmann::json& fields) {
    nlohmann::json line = {{"task", "t2v"},  {"model", kNano}, {"prompt", kRed},  {"unlocked", true},
                           {"width", 32},    {"height", 32},   {"num_frames", 5}, {"num_inference_steps", 4},
                           {"device", "cpu"}};
    line.update(fields);
    std::ofstream(path(), std::ios::app) << line.dump() << "\n";
  }

  /// Renders a shard, or where it has no count the whole manifest.
  RunResult run(const Shard& shard = {}, Progress* progress = nullptr) {
    c10::InferenceMode inference;
    const uint64_t draw = batch_draw(work());
    std::vector<JobRequest> jobs = jobs_of(path(), draw);
    BatchFolder place(work(), draw, shard);
    EXPECT_EQ(place.draw(), draw);
    if (!shard.is_whole()) {
      std::vector<const Request*> requests;
      for (const JobRequest& job : jobs) requests.push_back(&job.request);
      const std::vector<int64_t> shards = shards_of(requests, shard.count);
      std::vector<JobRequest> mine;
      for (size_t i = 0; i < jobs.size(); ++i)
        if (shards[i] == shard.index) mine.push_back(jobs[i]);
      jobs = mine;
    }
    Silent silent;
    return run_jobs(jobs, place.folder(), {.save_every = {}}, Log{}, progress ? *progress : silent);
  }

  std::string path() const { return folder / "list.jsonl"; }
  fs::path work() const { return folder / "list.jsonl.work"; }

  /// The bytes of all videos, by name.
  std::map<std::string, std::string> videos() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::directory_iterator(folder.path()))
      if (entry.path().extension() == ".mp4") found[entry.path().filename().string()] = bytes_of(entry.path());
    return found;
  }

  TemporaryFolder folder;
};

/// Jobs of two prompts, one line with several seeds, and one that is there twice.
void add_jobs(Scene& scene, const nlohmann::json& more = nlohmann::json::object()) {
  const auto add = [&](nlohmann::json fields) {
    fields.update(more);
    scene.add(fields);
  };
  add({{"out", "a.mp4"}, {"seed", 1}});
  add({{"out", "b.mp4"}, {"seed", 2}, {"repeat", 3}, {"prompt", kBlue}});
  add({{"out", "c.mp4"}, {"seed", 1}});
  add({{"out", "d.mp4"}, {"seed", 9}, {"num_inference_steps", 6}, {"solver", "dpm++"}});
}

TEST(ShardedBatch, HasTheBytesOfOneRunAndIsFinishedForIt) {
  // Without metadata a file does not say whose it is: what the folders note must do.
  for (const char* metadata : {"full", "none"}) {
    Scene whole, divided;
    add_jobs(whole, {{"metadata", metadata}});
    add_jobs(divided, {{"metadata", metadata}});
    const int64_t all = whole.run().count(JobState::Done);
    EXPECT_EQ(all, 6);
    int64_t done = 0;
    for (const int64_t index : {2, 0, 1}) {
      const RunResult part = divided.run({index, 3});
      EXPECT_EQ(part.count(JobState::Failed), 0) << (part.jobs.empty() ? "" : part.jobs[0].error);
      done += part.count(JobState::Done);
      EXPECT_EQ(part.count(JobState::Done), int64_t(part.jobs.size()));
    }
    EXPECT_EQ(done, all);
    EXPECT_TRUE(divided.videos() == whole.videos()) << metadata;
    for (const Shard& shard : {Shard{1, 3}, Shard{}, Shard{0, 2}, Shard{1, 2}}) {
      Steps none(0);
      const RunResult again = divided.run(shard, &none);
      EXPECT_FALSE(again.cancelled) << shard.text() << ": nothing is rendered again";
      EXPECT_EQ(again.count(JobState::Kept), int64_t(again.jobs.size())) << shard.text();
    }
  }
}

TEST(ShardedBatch, SeedsThatAreDrawnAreTheSameInAllDivisions) {
  Scene scene;
  scene.add({{"out", "a.mp4"}, {"repeat", 5}, {"num_inference_steps", 1}});
  scene.run({1, 2});
  scene.run({0, 2});
  const auto videos = scene.videos();
  EXPECT_EQ(videos.size(), 5u);
  EXPECT_EQ(scene.run().count(JobState::Kept), 5);
  EXPECT_TRUE(scene.videos() == videos);
}

TEST(ShardedBatch, MoreShardsThanJobs) {
  Scene scene;
  scene.add({{"out", "a.mp4"}, {"seed", 1}, {"repeat", 2}, {"num_inference_steps", 1}});
  size_t jobs = 0;
  for (int64_t index = 0; index < 5; ++index) jobs += scene.run({index, 5}).jobs.size();
  EXPECT_EQ(jobs, 2u);
  EXPECT_EQ(scene.videos().size(), 2u);
}

TEST(ShardedBatch, AnotherDivisionGoesOnWithWhatIsHalfDone) {
  Scene whole, divided;
  for (Scene* scene : {&whole, &divided})
    scene->add({{"out", "a.mp4"}, {"seed", 1}, {"repeat", 4}, {"num_inference_steps", 5}});
  whole.run();
  int64_t made = 0;
  // Each run is stopped before its fourth step, in the midst of a job.
  for (const Shard& shard : {Shard{0, 2}, Shard{0, 3}, Shard{1, 3}, Shard{}}) {
    Steps few(3);
    EXPECT_TRUE(divided.run(shard, &few).cancelled) << shard.text();
    made += few.made - 1;
  }
  for (const Shard& shard : {Shard{1, 2}, Shard{0, 2}}) {
    Steps rest;
    EXPECT_FALSE(divided.run(shard, &rest).cancelled);
    made += rest.made;
  }
  EXPECT_EQ(made, 4 * 5) << "no step twice";
  EXPECT_TRUE(divided.videos() == whole.videos());
}

TEST(ShardedBatch, ALineThatIsAddedMovesJobsAndLosesNone) {
  Scene scene;
  for (int seed = 1; seed <= 4; ++seed)
    scene.add(
        {{"out", std::to_string(seed) + ".mp4"}, {"seed", seed}, {"metadata", "none"}, {"num_inference_steps", 1}});
  for (const int64_t index : {0, 1}) scene.run({index, 2});
  scene.add({{"out", "long.mp4"}, {"seed", 5}, {"num_inference_steps", 9}});
  int64_t kept = 0, done = 0;
  for (const int64_t index : {0, 1}) {
    const RunResult part = scene.run({index, 2});
    kept += part.count(JobState::Kept);
    done += part.count(JobState::Done);
  }
  EXPECT_EQ(kept, 4);
  EXPECT_EQ(done, 1);
}

TEST(ShardedBatch, ALanguageServerIsAskedOnceInAllDivisions) {
  const ChatServer server;
  Scene scene;
  scene.add({{"out", "a.mp4"},
             {"seed", 1},
             {"repeat", 3},
             {"prompt", "a circle"},
             {"num_inference_steps", 1},
             {"expander_url", server.url()},
             {"enable_prompt_expansion", true}});
  int64_t done = 0;
  for (int64_t index = 0; index < 3; ++index) done += scene.run({index, 3}).count(JobState::Done);
  EXPECT_EQ(done, 3);
  EXPECT_EQ(server.calls(), 1) << "seeds of one prompt have one text";
  const auto videos = scene.videos();
  for (const auto& [name, bytes] : videos) fs::remove(scene.folder / name);
  EXPECT_EQ(scene.run().count(JobState::Done), 3);
  EXPECT_EQ(server.calls(), 1) << "rendered again with the text that is noted";
  EXPECT_TRUE(scene.videos() == videos);
}

}  // namespace
}  // namespace wan
