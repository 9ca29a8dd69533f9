// Batches of the tiny checkpoint at 32x32: their files equal single renders byte for byte, however they came about.
#include "engine/job/scheduler.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "engine/job/fetched.h"
#include "engine/media/video_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";
constexpr const char* kRed = "a red circle moves to the right on a black background";
constexpr const char* kBlue = "a blue square moves up on a gray background";

/// A manifest, its work folder and its outputs in a folder of their own.
struct Scene {
  void add(nlohmann::json fields) {
    nlohmann::json line = {
        {"task", "t2v"}, {"model", kNano.string()}, {"prompt", kRed},           {"unlocked", true}, {"width", 32},
        {"height", 32},  {"num_frames", 5},         {"num_inference_steps", 4}, {"device", "cpu"}};
    line.update(fields);
    std::ofstream(path(), std::ios::app) << line.dump() << "\n";
  }

  RunResult run(const RunOptions& options = {.save_every = {}}, Progress* progress = nullptr, const Log& log = {}) {
    c10::InferenceMode inference;
    const uint64_t draw = WorkFolder::draw_number(work());
    const std::vector<JobRequest> jobs = jobs_of(path(), draw);
    WorkFolder folder(work(), draw);
    Steps silent;
    return run_jobs(jobs, folder, options, log, progress ? *progress : silent);
  }

  std::string path() const { return folder / "list.jsonl"; }
  fs::path work() const { return folder / "work"; }
  std::string bytes(const std::string& out) const { return bytes_of(folder / out); }
  /// What waits in the work folder, as kinds of files.
  std::multiset<std::string> waiting() const {
    std::multiset<std::string> kinds;
    for (const auto& entry : fs::directory_iterator(work()))
      if (entry.path().extension() == ".safetensors") kinds.insert(entry.path().stem().extension());
    return kinds;
  }

  TemporaryFolder folder;
};

/// The tiny checkpoint under another path.
void link_checkpoint(const fs::path& to) {
  for (const auto& entry : fs::recursive_directory_iterator(kNano)) {
    const fs::path there = to / fs::relative(entry.path(), kNano);
    if (entry.is_directory()) continue;
    fs::create_directories(there.parent_path());
    fs::create_symlink(entry.path(), there);
  }
}

}  // namespace

TEST(Batch, EqualsSingleRendersInBothOrders) {
  // Both orders have the same requests, so that each is rendered alone but once.
  std::map<std::string, std::string> alone;
  for (bool given : {false, true}) {
    Scene scene;
    scene.add({{"out", "a.mp4"}, {"seed", 1}});
    scene.add({{"out", "b.mp4"}, {"seed", 2}, {"repeat", 2}, {"solver", "dpm++"}});
    scene.add({{"out", "c.mp4"}, {"seed", 3}, {"prompt", kBlue}, {"negative_prompt", kRed}, {"shift", 1.5}});
    scene.add(
        {{"out", "d.mp4"}, {"seed", 4}, {"task", "v2v"}, {"video_url", media_file("upright.mp4")}, {"num_frames", 5}});
    scene.add(
        {{"out", "e.mp4"}, {"seed", 5}, {"task", "v2v"}, {"video_url", media_file("upright.mp4")}, {"strength", 0.0}});
    scene.add({{"out", "f.mp4"},
               {"seed", 6},
               {"task", "v2v"},
               {"video_url", media_file("upright.mp4")},
               {"num_frames", 5},
               {"strength", 0.5}});
    const RunResult result = scene.run({.given_order = given, .save_every = {}});
    for (const JobResult& job : result.jobs) {
      EXPECT_EQ(job.state, JobState::Done) << job.error;
      const std::string name = fs::path(job.request.out).filename();
      if (!alone.contains(name)) alone[name] = rendered_alone(job.request);
      EXPECT_TRUE(bytes_of(job.request.out) == alone.at(name)) << name;
    }
    EXPECT_EQ(alone.size(), result.jobs.size());
    EXPECT_EQ(result.expert_loads, 2);
    EXPECT_EQ(scene.waiting(), (std::multiset<std::string>{})) << "a finished job leaves nothing";
    if (!given) {
      EXPECT_EQ(result.prompts_encoded, 3) << "two prompts and the empty text";
      EXPECT_EQ(result.inputs_encoded, 1) << "two jobs share the video";
    }
  }
}

TEST(Batch, ExpertsAreLoadedOncePerCheckpoint) {
  Scene scene;
  link_checkpoint(scene.folder / "other");
  // The experts' files are the same, their folders are not: a link would be one model.
  for (const char* expert : {"high_noise_model", "low_noise_model"}) {
    fs::remove_all(scene.folder / "other" / expert);
    fs::copy(kNano / expert, scene.folder / "other" / expert, fs::copy_options::recursive);
  }
  for (int i = 0; i < 6; ++i)
    scene.add({{"out", std::to_string(i) + ".mp4"}, {"seed", i}, {"model", i % 2 ? "other" : kNano.string()}});
  const RunResult result = scene.run();
  EXPECT_EQ(result.count(JobState::Done), 6);
  EXPECT_EQ(result.expert_loads, 4) << "two experts in each of two checkpoints";
}

TEST(Batch, GoesOnWhereItWasStoppedWithTheSameBytes) {
  for (bool given : {false, true}) {
    Scene scene;
    for (int seed : {1, 2})
      scene.add({{"out", std::to_string(seed) + ".mp4"}, {"seed", seed}, {"num_inference_steps", 5}});
    scene.add({{"out", "3.mp4"}, {"num_inference_steps", 5}});
    Steps all;
    const RunResult whole = scene.run({.given_order = given, .save_every = {}}, &all);
    std::vector<std::string> want;
    for (const JobResult& job : whole.jobs) {
      want.push_back(bytes_of(job.request.out));
      fs::remove(job.request.out);
    }
    EXPECT_EQ(all.made, 15);
    int64_t made = 0, runs = 0;
    for (bool stopped = true; stopped; ++runs) {
      ASSERT_LT(runs, 16);
      Steps few(1);
      const RunResult part = scene.run({.given_order = given}, &few);  // a minute between states: Cancelled saves
      stopped = part.cancelled;
      made += few.made - stopped;
    }
    EXPECT_EQ(made, 15) << "no step twice";
    for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(bytes_of(whole.jobs[i].request.out), want[i]) << i;
    EXPECT_EQ(scene.waiting(), (std::multiset<std::string>{}));
  }
}

TEST(Batch, DamagedWorkIsMadeAgainWithTheSameBytes) {
  Scene scene;
  scene.add({{"out", "a.mp4"}, {"seed", 1}, {"num_inference_steps", 7}});
  const std::string out = scene.run().jobs[0].request.out, want = bytes_of(out);
  for (const std::string ending : {".encoded.safetensors", ".sampling.safetensors"})
    for (const bool emptied : {false, true}) {
      fs::remove(out);
      Steps few(3);
      EXPECT_TRUE(scene.run({}, &few).cancelled);
      int64_t damaged = 0;
      for (const auto& entry : fs::directory_iterator(scene.work())) {
        const std::string path = entry.path().string();
        if (!path.ends_with(ending)) continue;
        std::string bytes = emptied ? "" : bytes_of(path);
        if (!emptied) bytes.back() ^= 1;  // the last mantissa bit of a value: nothing else would notice
        std::ofstream(path, std::ios::binary) << bytes;
        ++damaged;
      }
      EXPECT_GT(damaged, 0) << ending;
      EXPECT_EQ(scene.run().count(JobState::Done), 1) << ending;
      EXPECT_TRUE(bytes_of(out) == want) << ending;
    }
}

TEST(Batch, WhatAKillLeftOfAFinishedJobGoesAtTheNextRun) {
  Scene scene;
  scene.add({{"out", "a.mp4"}});
  scene.run();
  std::ifstream journal(scene.work() / "journal.jsonl");
  nlohmann::json last;
  for (std::string line; std::getline(journal, line);) last = nlohmann::json::parse(line);
  ASSERT_EQ(last.at("files").size(), 4u) << "latents, state, prompt and negative prompt";
  for (const std::string name : last["files"])
    if (name.find("encoded") == name.npos) std::ofstream(scene.work() / name) << "left";
  std::ofstream(scene.work() / "of-somebody-else.safetensors") << "stays";
  scene.add({{"out", "b.mp4"}, {"model", (scene.folder / "unmounted").string()}});
  EXPECT_EQ(scene.run().count(JobState::Kept), 1);
  EXPECT_EQ(scene.waiting(), (std::multiset<std::string>{"", ".latents", ".sampling"}))
      << "what the job needs that could not be prepared is not known";
  link_checkpoint(scene.folder / "unmounted");
  const RunResult mounted = scene.run();
  EXPECT_EQ(mounted.count(JobState::Done), 1) << mounted.jobs.back().error;
  EXPECT_EQ(scene.waiting(), (std::multiset<std::string>{""}));
}

TEST(Batch, OneFailureIsItsOwn) {
  Scene scene;
  std::ofstream(scene.folder / "broken.mp4") << "no video";
  scene.add({{"out", "a.mp4"}, {"seed", 1}});
  scene.add({{"out", "b.mp4"}, {"task", "v2v"}, {"video_url", "broken.mp4"}});
  scene.add({{"out", "c.mp4"}, {"seed", 2}, {"model", "absent"}});
  scene.add({{"out", "d.mp4"}, {"seed", 3}});
  const RunResult result = scene.run();
  ASSERT_EQ(result.jobs.size(), 4u);
  EXPECT_EQ(result.jobs[0].state, JobState::Done);
  EXPECT_NE(result.jobs[1].error.find("[video_url]"), std::string::npos) << result.jobs[1].error;
  EXPECT_NE(result.jobs[2].error.find("absent"), std::string::npos) << result.jobs[2].error;
  EXPECT_EQ(result.jobs[3].state, JobState::Done);
  EXPECT_EQ(result.count(JobState::Failed), 2);

  Scene fast;
  std::ofstream(fast.folder / "broken.mp4") << "no video";
  fast.add({{"out", "b.mp4"}, {"task", "v2v"}, {"video_url", "broken.mp4"}});
  fast.add({{"out", "a.mp4"}, {"seed", 1}});
  const RunResult stopped = fast.run({.fail_fast = true});
  EXPECT_EQ(stopped.jobs[0].state, JobState::Failed);
  EXPECT_EQ(stopped.jobs[1].state, JobState::Left);
  EXPECT_FALSE(fs::exists(fast.folder / "a.mp4"));
}

TEST(Batch, AnEditRendersAgainOnlyWhatChanged) {
  Scene scene;
  scene.add({{"out", "a.mp4"}});
  scene.add({{"out", "b.mp4"}, {"seed", 2}});
  const RunResult first = scene.run();
  const std::string a = scene.bytes("a.mp4"), b = scene.bytes("b.mp4");

  fs::remove(scene.path());
  scene.add({{"out", "new.mp4"}, {"seed", 9}});
  scene.add({{"out", "b.mp4"}, {"seed", 3}});
  scene.add({{"out", "a.mp4"}});
  const RunResult second = scene.run();
  EXPECT_EQ(second.jobs[0].state, JobState::Done);
  EXPECT_EQ(second.jobs[1].state, JobState::Done) << "another seed is another job";
  EXPECT_EQ(second.jobs[2].state, JobState::Kept);
  EXPECT_EQ(second.jobs[2].request.seed, first.jobs[0].request.seed) << "a drawn seed stays";
  EXPECT_NE(scene.bytes("b.mp4"), b);

  fs::remove(scene.folder / "a.mp4");
  EXPECT_EQ(scene.run().count(JobState::Done), 1) << "a deleted output is made again";
  EXPECT_EQ(scene.bytes("a.mp4"), a);
}

TEST(Batch, AChangedInputIsAnotherJob) {
  Scene scene;
  fs::copy(media_file("upright.mp4"), scene.folder / "in.mp4");
  scene.add({{"out", "a.mp4"}, {"task", "v2v"}, {"video_url", "in.mp4"}, {"num_frames", 5}, {"seed", 1}});
  EXPECT_EQ(scene.run().count(JobState::Done), 1);
  EXPECT_EQ(scene.run().count(JobState::Kept), 1);
  std::ofstream(scene.folder / "in.mp4", std::ios::app | std::ios::binary) << std::string(8, '\0');
  EXPECT_EQ(scene.run().count(JobState::Kept), 0);
}

TEST(Batch, AFullDiskFailsTheJobAndLosesNothing) {
  Scene scene;
  scene.add({{"out", "a.mp4"}, {"seed", 1}});
  scene.run();
  const std::string a = scene.bytes("a.mp4");
  scene.add({{"out", "b.mp4"}, {"seed", 2}});
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit tight = {2048, before.rlim_max};  // a state is larger
  setrlimit(RLIMIT_FSIZE, &tight);
  const RunResult full = scene.run();
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(full.count(JobState::Failed), 1);
  EXPECT_NE(full.jobs[1].error.find("cannot be written"), std::string::npos) << full.jobs[1].error;
  EXPECT_EQ(scene.bytes("a.mp4"), a);
  const RunResult again = scene.run();
  EXPECT_EQ(again.count(JobState::Kept), 1);
  EXPECT_EQ(bytes_of(scene.folder / "b.mp4"), rendered_alone(again.jobs[1].request));
}

/// A file as a data URL.
std::string data_url(const std::string& path) {
  constexpr const char* kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes = bytes_of(path), text = "data:video/mp4;base64,";
  const size_t missing = (3 - bytes.size() % 3) % 3;
  bytes.append(missing, '\0');
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const uint32_t three = uint8_t(bytes[i]) << 16 | uint8_t(bytes[i + 1]) << 8 | uint8_t(bytes[i + 2]);
    for (int shift : {18, 12, 6, 0}) text += kLetters[three >> shift & 63];
  }
  return text.replace(text.size() - missing, missing, missing, '=');
}

// Days may lie between the pictures and the sound of a video that is named by a URL.
TEST(Batch, AnInputByUrlIsFetchedOnceAndKeptForItsSound) {
  Scene scene;
  const std::string url = data_url(media_file("aac_sound.mp4"));
  for (int seed : {1, 2})
    scene.add({{"out", std::to_string(seed) + ".mp4"},
               {"task", "v2v"},
               {"video_url", url},
               {"num_frames", 5},
               {"resample_fps", true},
               {"seed", seed}});
  Steps few(1);
  EXPECT_TRUE(scene.run({}, &few).cancelled);
  const std::string copy = copy_path(scene.work(), url).string();
  ASSERT_TRUE(fs::exists(copy));
  const RunResult result = scene.run();
  for (const JobResult& job : result.jobs) {
    EXPECT_EQ(job.state, JobState::Done) << job.error;
    EXPECT_TRUE(bytes_of(job.request.out) == rendered_alone(job.request)) << job.request.out;
    EXPECT_TRUE(VideoReader({job.request.out, "video_url"}).info().has_audio);
  }
  EXPECT_FALSE(fs::exists(copy)) << "no job needs it any more";
}

TEST(Batch, LogsThePhasesThatHadWork) {
  Scene scene;
  scene.add({{"out", "a.mp4"}, {"seed", 1}});
  std::vector<std::string> phases;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "phase") phases.push_back(fields["phase"].get<std::string>() + " " + fields["jobs"].dump());
  }};
  scene.run({}, nullptr, log);
  EXPECT_EQ(phases, (std::vector<std::string>{"prompts 1", "high_noise 1", "low_noise 1", "decode 1"}));
  phases.clear();
  scene.run({}, nullptr, log);
  EXPECT_EQ(phases, std::vector<std::string>());
}

TEST(Batch, ProgressNamesTheJobAndTheTimeLeft) {
  Scene scene;
  for (int seed : {1, 2}) scene.add({{"out", std::to_string(seed) + ".mp4"}, {"seed", seed}});
  Steps steps;
  scene.run({}, &steps);
  EXPECT_EQ(steps.last.job, "2/2 2.mp4");
  ASSERT_TRUE(steps.last.batch_seconds.has_value());
  EXPECT_EQ(*steps.last.batch_seconds, 0);
}

}  // namespace wan
