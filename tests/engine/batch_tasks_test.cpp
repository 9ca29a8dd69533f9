// Pictures and speech in a batch: the files of a single render, whether the batch was broken off or not.
#include <gtest/gtest.h>

#include <fstream>

#include "engine/job/scheduler.h"
#include "engine/media/png.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kCheckpoints = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints";

/// A manifest over two pictures and a sound.
struct Scene {
  Scene() {
    write_png(folder / "first.png", moving_picture(2, 64, 64)[0]);
    write_png(folder / "last.png", moving_picture(2, 64, 64)[1]);
    write_sound(folder / "voice.wav", 16000, 5.1);
  }

  void add(const std::string& task, const std::string& model, nlohmann::json more) {
    nlohmann::json line = {{"task", task},       {"model", (kCheckpoints / model).string()},
                           {"prompt", "a face"}, {"image_url", "first.png"},
                           {"unlocked", true},   {"width", 64},
                           {"height", 64},       {"num_inference_steps", 2},
                           {"device", "cpu"}};
    line.update(more);
    std::ofstream(folder / "list.jsonl", std::ios::app) << line.dump() << "\n";
  }

  RunResult run(Progress& progress) {
    c10::InferenceMode inference;
    const std::vector<JobRequest> jobs = jobs_of(folder / "list.jsonl", 1);
    WorkFolder work(folder / "work", 1);
    return run_jobs(jobs, work, {.save_every = {}}, Log{}, progress);
  }

  TemporaryFolder folder;
};

void expect_single_renders(const RunResult& result) {
  for (const JobResult& job : result.jobs) {
    EXPECT_EQ(job.state, JobState::Done) << job.error;
    EXPECT_TRUE(bytes_of(job.request.out) == rendered_alone(job.request)) << job.request.out;
  }
}

TEST(BatchTasks, PicturesAreAnimated) {
  Scene scene;
  scene.add("i2v", "Wan2.2-I2V-A14B", {{"out", "a.mp4"}, {"num_frames", 5}, {"seed", 1}});
  scene.add("i2v", "Wan2.2-I2V-A14B", {{"out", "b.mp4"}, {"num_frames", 5}, {"seed", 2}});
  scene.add("i2v", "Wan2.2-I2V-A14B", {{"out", "c.mp4"}, {"num_frames", 9}, {"last_image_url", "last.png"}});
  Steps progress;
  const RunResult result = scene.run(progress);
  expect_single_renders(result);
  EXPECT_EQ(result.inputs_encoded, 2) << "two jobs share their picture and length";
  EXPECT_LE(result.expert_loads, 2);
}

TEST(BatchTasks, SpeechGoesOnWithTheSameBytes) {
  Scene scene;
  for (int seed : {1, 2})
    scene.add("s2v", "Wan2.2-S2V-14B",
              {{"out", std::to_string(seed) + ".mp4"}, {"audio_url", "voice.wav"}, {"seed", seed}});
  Steps few(3), rest;  // in the second of the first job's two clips
  EXPECT_TRUE(scene.run(few).cancelled);
  expect_single_renders(scene.run(rest));
  EXPECT_EQ(rest.made, 1 + 4);
}

}  // namespace
}  // namespace wan
