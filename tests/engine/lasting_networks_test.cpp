// Runs that share a pool of networks: what one loaded stays for the next, and nothing else of it does.
#include <gtest/gtest.h>

#include <fstream>

#include "engine/job/network_pool.h"
#include "engine/job/scheduler.h"
#include "engine/request/parse.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

class LastingNetworks : public DeviceMemory {
 protected:
  Request asked(uint64_t seed, const fs::path& model = kNano, nlohmann::json more = nlohmann::json::object()) const {
    more.update({{"seed", seed}, {"out", std::to_string(seed) + ".mp4"}});
    return request(Task::T2V, model, more);
  }

  /// Each run has a work folder of its own, as batches of a server have.
  RunResult run(const std::vector<Request>& requests, NetworkPool* pool) {
    c10::InferenceMode inference;
    std::vector<JobRequest> jobs;
    for (const Request& request : requests) jobs.push_back({.line = int64_t(jobs.size()) + 1, .request = request});
    WorkFolder work(folder_ / ("work" + std::to_string(runs_++)), 1);
    Silent silent;
    RunResult result = run_jobs(jobs, work, {.save_every = {}, .networks = pool}, Log{}, silent);
    for (const JobResult& job : result.jobs) EXPECT_EQ(job.state, JobState::Done) << job.error;
    return result;
  }

  int64_t runs_ = 0;
};

/// Other weights under the same names: signs change in the file's last tensor, by a new file that takes its place.
void replace_weights(const fs::path& path) {
  uint64_t begin = 0, end = 0;
  for (const auto& [name, tensor] : read_tensors(MappedFile::open(path)))
    if (tensor.offset >= begin) begin = tensor.offset, end = tensor.offset + tensor.bytes();
  std::string bytes = bytes_of(path);
  ASSERT_GE(bytes.size(), end);
  for (uint64_t at = begin + 3; at < end; at += 4) bytes[at] = char(bytes[at] ^ 0x80);
  const fs::path other = path.string() + ".new";
  std::ofstream(other, std::ios::binary) << bytes;
  fs::rename(other, path);
}

TEST_F(LastingNetworks, StayForTheNextRunAndChangeNothing) {
  NetworkPool pool{Log{}};
  EXPECT_EQ(run({asked(1)}, &pool).expert_loads, 2);
  EXPECT_TRUE(pool.keeps_transformers());
  const std::vector<Request> next = {asked(2, kNano, {{"num_frames", 9}}), asked(3)};
  EXPECT_EQ(run(next, &pool).expert_loads, 0);
  for (const Request& request : next) EXPECT_TRUE(bytes_of(request.out) == rendered_alone(request)) << request.out;
  pool.drop();
  EXPECT_FALSE(pool.keeps_transformers());
  EXPECT_EQ(run({asked(4)}, &pool).expert_loads, 2);
  EXPECT_EQ(run({asked(5)}, nullptr).expert_loads, 2) << "a run without a pool has its own";
}

TEST_F(LastingNetworks, GoWhereAnotherModelComes) {
  const fs::path other = folder_ / "other";
  fs::copy(kNano, other, fs::copy_options::recursive);
  NetworkPool pool{Log{}};
  run({asked(1)}, &pool);
  EXPECT_EQ(run({asked(2, other)}, &pool).expert_loads, 2);
  EXPECT_EQ(run({asked(3, other)}, &pool).expert_loads, 0);
  EXPECT_EQ(pool.groups().size(), 1u) << "models of earlier runs are forgotten";
}

TEST_F(LastingNetworks, AreLoadedAnewWhereAFileWasReplacedBetweenRuns) {
  const fs::path model = folder_ / "model";
  fs::copy(kNano, model, fs::copy_options::recursive);
  NetworkPool pool{Log{}};
  run({asked(1, model)}, &pool);
  const std::string before = bytes_of(asked(1, model).out);
  fs::remove(asked(1, model).out);
  ASSERT_NO_FATAL_FAILURE(
      replace_weights(model / "low_noise_model/diffusion_pytorch_model-00002-of-00002.safetensors"));
  EXPECT_EQ(run({asked(1, model)}, &pool).expert_loads, 2);
  const std::string after = bytes_of(asked(1, model).out);
  EXPECT_FALSE(after == before) << "the weights that were replaced computed it";
  EXPECT_TRUE(after == rendered_alone(asked(1, model)));
}

// Under a budget the first run's activations must not decide how the next one's networks lie, nor the other way round.
TEST_F(LastingNetworks, ArePlannedForTheJobsOfEachRun) {
  const Request small = asked(1), large = asked(2, kNano, {{"num_frames", 17}, {"width", 128}, {"height", 128}});
  const uint64_t limit = limits_of(large).second;
  NetworkPool pool{Log{}};
  for (const Request& request : {small, large, small}) {
    const Request under = limited(request, limit);
    run({under}, &pool);
    EXPECT_TRUE(bytes_of(under.out) == rendered_alone(request));
    fs::remove(under.out);
  }
  // What takes all that the large one may have leaves the small one whole, and the other way round nothing is refused.
  NetworkPool tight{Log{}};
  const Request first = limited(small, limits_of(large).first), second = limited(large, limits_of(large).first);
  run({first}, &tight);
  run({second}, &tight);
  EXPECT_TRUE(bytes_of(second.out) == rendered_alone(large));
}

}  // namespace
}  // namespace wan
