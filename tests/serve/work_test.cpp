// What the dispatcher decides by: messages, costs, and which jobs go together.
#include <gtest/gtest.h>

#include "engine/serve/work/batch.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

using nlohmann::json;

JobPtr waiting(json fields, Priority priority = Priority::Normal) {
  auto job = std::make_shared<LiveJob>();
  job->job.endpoint = "e";
  job->job.fields = {{"task", "t2v"}, {"model", "m"}, {"num_frames", 81}, {"num_inference_steps", 10}};
  if (fields.is_object()) job->job.fields.update(fields);
  job->job.priority = priority;
  return job;
}

TEST(WorkProtocol, ABatchComesBackAsItWas) {
  const WorkBatch batch{.id = "b", .folder = "/work/b", .jobs = {{"1", {{"prompt", "\n\"ä"}}, "/o", "/p", true}}};
  const std::string line = line_of(batch);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const json message = read_message(std::string_view(line).substr(0, line.size() - 1));
  EXPECT_EQ(message["do"], "render");
  const auto back = message.get<WorkBatch>();
  EXPECT_EQ(back.id, "b");
  EXPECT_EQ(back.folder, "/work/b");
  ASSERT_EQ(back.jobs.size(), 1u);
  EXPECT_EQ(back.jobs[0].fields, batch.jobs[0].fields);
  EXPECT_EQ(back.jobs[0].preview, "/p");
  EXPECT_TRUE(back.jobs[0].withdrawn);
  const std::vector<FieldError> errors = {{"prompt", "is wrong", "missing", "1..2", "x"}};
  const auto same = read_errors(to_json(errors));
  ASSERT_EQ(same.size(), 1u);
  EXPECT_EQ(same[0].line(), errors[0].line());
  EXPECT_EQ(same[0].limits, "1..2");
}

TEST(WorkProtocol, NonsenseIsRefused) {
  for (const std::string text : {"", "[]", "7", "{\"do\":", "\"render\""}) EXPECT_ANY_THROW(read_message(text)) << text;
  EXPECT_THROW(read_message(std::string(100'000, '[')), BrokenJson);
  const json item = {{"id", "1"}, {"fields", json::object()}, {"out", "/o"}};
  EXPECT_THROW((json{{"batch", "b"}, {"folder", "f"}, {"jobs", {item, item}}}.get<WorkBatch>()), std::invalid_argument);
  EXPECT_EQ(line_of({{"text", "\xff"}}), "{\"text\":\"\xef\xbf\xbd\"}\n");
}

TEST(WorkCosts, FollowStepsAndFramesOfEqualSizes) {
  Costs costs;
  const JobPtr job = waiting({});
  EXPECT_FALSE(costs.seconds(job->job).has_value());
  EXPECT_FALSE(costs.mean().has_value());
  costs.add(job->job, 100);
  EXPECT_DOUBLE_EQ(*costs.seconds(job->job), 100);
  EXPECT_DOUBLE_EQ(*costs.seconds(waiting({{"num_inference_steps", 20}})->job), 200);
  EXPECT_FALSE(costs.seconds(waiting({{"resolution", "720p"}})->job).has_value());
  EXPECT_FALSE(costs.seconds(waiting({{"num_frames", 41}})->job).has_value())
      << "attention grows faster than the length";
  costs.add(job->job, 200);
  EXPECT_DOUBLE_EQ(*costs.seconds(job->job), 130);
  for (const double wrong : {0.0, -1.0, double(INFINITY), double(NAN)}) costs.add(job->job, wrong);
  EXPECT_DOUBLE_EQ(*costs.seconds(job->job), 130);
  json speech = {{"task", "s2v"}};
  JobPtr speaks = waiting(speech);
  speaks->job.fields.erase("num_frames");
  costs.add(speaks->job, 50);
  EXPECT_FALSE(costs.seconds(speaks->job).has_value()) << "its length is that of the sound";
}

TEST(WorkChoice, TakesOthersOfTheModelWithinTheWindow) {
  Costs costs;
  costs.add(waiting({})->job, 100);
  const std::vector<JobPtr> jobs = {waiting({}), waiting({{"model", "other"}}),          waiting({}, Priority::Low),
                                    waiting({}), waiting({{"num_inference_steps", 20}}), waiting({})};
  using std::chrono::seconds;
  const auto chosen = [&](seconds window, const std::string& resident = "") {
    std::vector<int64_t> numbers;
    for (const JobPtr& job : next_jobs(jobs, costs, window, resident))
      numbers.push_back(std::find(jobs.begin(), jobs.end(), job) - jobs.begin());
    return numbers;
  };
  EXPECT_EQ(chosen(seconds(300)), (std::vector<int64_t>{0, 3, 4}));
  EXPECT_EQ(chosen(seconds(250)), (std::vector<int64_t>{0, 3})) << "the last one does not overtake the one before it";
  EXPECT_EQ(chosen(seconds(0)), (std::vector<int64_t>{0}));
  EXPECT_EQ(chosen(seconds(300), model_key(jobs[0]->job)), (std::vector<int64_t>{0})) << "its weights are there";
  EXPECT_EQ(chosen(seconds(300), model_key(jobs[1]->job)), (std::vector<int64_t>{0, 3, 4}));
  jobs[0]->job.fields["width"] = 64;
  EXPECT_EQ(chosen(seconds(300)), (std::vector<int64_t>{0})) << "its cost is not known";
  jobs[0]->job.batch = "b";
  EXPECT_EQ(chosen(seconds(300)), (std::vector<int64_t>{1})) << "nor is this one's";
  jobs[1]->cancelling = true;
  EXPECT_EQ(chosen(seconds(300)), (std::vector<int64_t>{2}));
  EXPECT_TRUE(next_jobs({}, costs, seconds(300), "").empty());
}

TEST(WorkChoice, OutputsHaveOneNameThatNobodyGuesses) {
  Job job;
  job.id = "1";
  job.preview_key = "secret";
  const auto path = output_of(job, "/data");
  EXPECT_EQ(path, output_of(job, "/data"));
  EXPECT_EQ(path.parent_path(), "/data/outputs");
  EXPECT_EQ(path.filename().string().size(), 32 + std::string("_video.mp4").size());
  EXPECT_EQ(path.string().find("secret"), std::string::npos);
  job.preview_key = "other";
  EXPECT_NE(path, output_of(job, "/data"));
}

}  // namespace
}  // namespace wan::serve
