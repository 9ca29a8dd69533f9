// Jobs as the hosted APIs tell them.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "engine/serve/api/answers.h"
#include "engine/serve/api/fal_answers.h"
#include "engine/serve/api/wavespeed_answers.h"
#include "tests/serve/api_exchange.h"

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

const char* const kText = "fal-ai/wan/v2.2-a14b/text-to-video";
const char* const kSpeech = "fal-ai/wan/v2.2-14b/speech-to-video";
const char* const kWaveSpeed = "wavespeed-ai/wan-2.2/speech-to-video";
const char* const kBase = "http://h:1";

LiveJob live(JobStatus status, const char* endpoint = kText) {
  LiveJob job;
  job.job.id = "7";
  job.job.endpoint = endpoint;
  job.job.preview_key = "abc";
  job.job.status = status;
  job.job.created = 1'764'000'000'123;
  job.job.started = 1'764'000'001'000;
  job.job.ended = 1'764'000'003'500;
  if (status == JobStatus::Done)
    job.job.output =
        JobOutput{.file = "v.mp4", .bytes = 9, .seed = 18446744073709551615u, .prompt = "a cat", .seconds = 1.25};
  if (status == JobStatus::Failed) job.job.error = JobError{500, "runner_server_error", "it broke"};
  return job;
}

ordered_json status_of(const LiveJob& job, const ordered_json& logs = nullptr) {
  return status_json(job, 3, "U", kBase, logs);
}

const std::string* header(const Answer& answer, const std::string& name) {
  for (const Header& header : answer.headers)
    if (header.first == name) return &header.second;
  return nullptr;
}

TEST(FalAnswers, TellTheThreeStates) {
  const ordered_json queued = status_of(live(JobStatus::Queued));
  EXPECT_EQ(queued.at("status"), "IN_QUEUE");
  EXPECT_EQ(queued.at("queue_position"), 3);
  EXPECT_EQ(queued.at("status_url"), "U/status");
  EXPECT_FALSE(queued.contains("logs"));

  LiveJob job = live(JobStatus::Running);
  EXPECT_EQ(status_of(job).at("status"), "IN_PROGRESS");
  EXPECT_TRUE(status_of(job).at("logs").is_null());
  EXPECT_FALSE(status_of(job).contains("preview_url"));
  job.progress = {.stage = "denoise", .step = 2, .steps = 9, .expert = "low", .seconds_left = 4.5, .preview = 1};
  EXPECT_EQ(status_of(job).at("preview_url"), "http://h:1/files/previews/abc.jpg");
  EXPECT_EQ(status_of(job).at("progress").at("seconds_left"), 4.5);

  const ordered_json done = status_of(live(JobStatus::Done), ordered_json::array());
  EXPECT_EQ(done.at("status"), "COMPLETED");
  EXPECT_TRUE(done.at("logs").is_array());
  EXPECT_EQ(done.at("metrics").at("inference_time"), 1.25);
  EXPECT_EQ(done.at("endpoint"), kText) << "wan-infer watch names the video by it";
  EXPECT_FALSE(done.contains("error"));

  const ordered_json failed = status_of(live(JobStatus::Failed));
  EXPECT_EQ(failed.at("status"), "COMPLETED");
  EXPECT_EQ(failed.at("metrics").at("inference_time"), 2.5);
  EXPECT_EQ(failed.at("error"), "it broke");
  EXPECT_EQ(failed.at("error_type"), "runner_server_error");
}

TEST(FalAnswers, GiveLogsFromAnEntryOn) {
  LiveJob job = live(JobStatus::Running);
  job.logs = {{1'764'000'000'123, "INFO", "one"}, {1'764'000'000'124, "WARN", "two"}};
  EXPECT_EQ(logs_json(job).size(), 2u);
  EXPECT_EQ(logs_json(job, 1).dump(),
            R"([{"message":"two","level":"WARN","source":"USER","timestamp":"2025-11-24T16:00:00.124Z"}])");
  EXPECT_EQ(logs_json(job, 2).dump(), "[]");
}

TEST(FalAnswers, HaveTheVideo) {
  const Answer answer = result_answer(live(JobStatus::Done).job, kBase);
  EXPECT_EQ(answer.status, 200);
  ASSERT_NE(header(answer, "x-fal-request-id"), nullptr);
  EXPECT_EQ(*header(answer, "x-fal-request-id"), "7");
  EXPECT_EQ(answer.body,
            R"({"video":{"url":"http://h:1/files/outputs/v.mp4","content_type":"video/mp4","file_name":"v.mp4",)"
            R"("file_size":9},"prompt":"a cat","seed":18446744073709551615})");
  EXPECT_EQ(output_json(live(JobStatus::Done, kSpeech).job, kBase).size(), 1u) << "speech tells the video alone";
}

TEST(FalAnswers, HaveTheErrorOfAFailedJob) {
  LiveJob job = live(JobStatus::Failed);
  Answer answer = result_answer(job.job, kBase);
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body, R"({"detail":"it broke","error_type":"runner_server_error"})");
  EXPECT_EQ(*header(answer, "X-Fal-Error-Type"), "runner_server_error");

  job.job.error = JobError{422, "", ordered_json::array({{{"loc", {"body", "image_url"}}, {"msg", "is broken"}}})};
  answer = result_answer(job.job, kBase);
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(*header(answer, "X-Fal-Retryable"), "false");
  EXPECT_EQ(header(answer, "X-Fal-Error-Type"), nullptr);

  job.job.error = JobError{504, "request_timeout", "too late"};
  answer = result_answer(job.job, kBase);
  EXPECT_EQ(answer.status, 504);
  ASSERT_NE(header(answer, "X-Fal-Request-Timeout-Type"), nullptr);
  EXPECT_EQ(*header(answer, "X-Fal-Request-Timeout-Type"), "user");
}

TEST(FalAnswers, ASyncRunWhoseWorkersDiedIsNotSentAgain) {
  LiveJob job = live(JobStatus::Failed);
  job.job.error = JobError{503, "runner_disconnected", "it died twice"};
  EXPECT_EQ(result_answer(job.job, kBase).status, 503);
  const Answer run = run_answer(job.job, kBase);
  EXPECT_EQ(run.status, 500);
  EXPECT_EQ(*header(run, "X-Fal-Error-Type"), "runner_disconnected");
  EXPECT_EQ(run_answer(live(JobStatus::Done).job, kBase).status, 200);
  job.job.error = JobError{504, "request_timeout", "too late"};
  EXPECT_EQ(run_answer(job.job, kBase).status, 504) << "the client knows that kind by its header";
}

TEST(FalAnswers, NameTheQueueByTheHost) {
  ApiExchange exchange;
  exchange.base = "http://localhost:8000";
  EXPECT_EQ(request_url(exchange, "7"), "http://localhost:8000/queue/fal-ai/wan/requests/7");
  exchange.base = "http://queue.localhost:8000";
  exchange.headers["Host"] = "queue.localhost:8000";
  EXPECT_EQ(request_url(exchange, "7"), "http://queue.localhost:8000/fal-ai/wan/requests/7");
}

TEST(WaveSpeedAnswers, AreTasks) {
  const ordered_json task = wavespeed_task(live(JobStatus::Done, kWaveSpeed).job, kBase);
  EXPECT_EQ(
      task.dump(),
      R"({"id":"7","model":"wavespeed-ai/wan-2.2/speech-to-video","outputs":["http://h:1/files/outputs/v.mp4"],)"
      R"("urls":{"get":"http://h:1/api/v3/predictions/7/result"},"has_nsfw_contents":[false],"status":"completed",)"
      R"("created_at":"2025-11-24T16:00:00.123Z","error":"","timings":{"inference":1250}})");
  EXPECT_EQ(wavespeed_task(live(JobStatus::Queued, kWaveSpeed).job, kBase).at("status"), "created");
  EXPECT_EQ(wavespeed_task(live(JobStatus::Running, kWaveSpeed).job, kBase).at("status"), "processing");
  EXPECT_EQ(wavespeed_task(live(JobStatus::Failed, kWaveSpeed).job, kBase).at("error"), "it broke");
}

TEST(WaveSpeedAnswers, SayWhatWasFlagged) {
  LiveJob done = live(JobStatus::Done, kWaveSpeed), refused = live(JobStatus::Failed, kWaveSpeed);
  done.job.output->safety = {{"flagged", true}, {"action", "blur"}};
  EXPECT_EQ(wavespeed_task(done.job, kBase).at("has_nsfw_contents"), ordered_json::array({true}));
  refused.job.error = JobError{
      422, "",
      ordered_json::array({{{"type", "content_policy_violation"}, {"loc", {"body", "prompt"}}, {"msg", "no"}}})};
  const ordered_json task = wavespeed_task(refused.job, kBase);
  EXPECT_EQ(task.at("has_nsfw_contents"), ordered_json::array({true}));
  EXPECT_EQ(task.at("status"), "failed");
  EXPECT_EQ(task.at("outputs"), ordered_json::array());
  EXPECT_EQ(result_answer(refused.job, kBase).status, 422);
  EXPECT_EQ(wavespeed_task(live(JobStatus::Failed, kWaveSpeed).job, kBase).at("has_nsfw_contents"),
            ordered_json::array());
}

TEST(WaveSpeedAnswers, GiveTheClientNoReasonToAskAgain) {
  LiveJob job = live(JobStatus::Failed, kWaveSpeed);
  job.job.error = JobError{
      422, "",
      ordered_json::array({{{"loc", {"body", "image_url"}}, {"msg", "the server answers HTTP 503, then HTTP 429"}}})};
  EXPECT_EQ(wavespeed_task(job.job, kBase).at("error"), "image: the server answers status 503, then status 429");
  job.job.error = JobError{500, "internal_error", "HTTP 500"};
  EXPECT_EQ(wavespeed_task(job.job, kBase).at("error"), "status 500");
}

TEST(Refusals, HaveTheVendorsForm) {
  const Answer fal = refusal(Access::Form::Fal, 404, "not_found", "Not here", {{"Retry-After", "5"}});
  EXPECT_EQ(in_form(Access::Form::Fal, fal).body, fal.body);
  const Answer other = in_form(Access::Form::WaveSpeed, fal);
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(ordered_json::parse(other.body), (ordered_json{{"code", 404}, {"message", "Not here"}}));
  EXPECT_EQ(header(other, "X-Fal-Error-Type"), nullptr);
  ASSERT_NE(header(other, "Retry-After"), nullptr);
  // What is no refusal, or has the form already, stays.
  for (const Answer& answer : {json_answer({{"detail", "x"}}), json_answer({{"code", 400}, {"message", "m"}}, 400),
                               json_answer({{"status", "not ready"}}, 503)})
    EXPECT_EQ(in_form(Access::Form::WaveSpeed, answer).body, answer.body);
}

TEST(Refusals, HaveOpenAisFormBelowV1) {
  const Answer fal = refusal(Access::Form::Fal, 404, "not_found", "Not here", {{"Retry-After", "5"}});
  const Answer other = in_form(Access::Form::OpenAi, fal);
  const ordered_json error = {
      {"message", "Not here"}, {"type", "invalid_request_error"}, {"param", nullptr}, {"code", "not_found"}};
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(ordered_json::parse(other.body).at("error"), error);
  EXPECT_EQ(header(other, "X-Fal-Error-Type"), nullptr);
  ASSERT_NE(header(other, "Retry-After"), nullptr);
  EXPECT_EQ(in_form(Access::Form::OpenAi, other).body, other.body);

  ErrorList errors = ErrorList::array();
  add_error(errors, "prompt", "missing", "Field required", nullptr);
  add_error(errors, "shift", "float_type", "Input should be a valid number", "x");
  const Answer fields = in_form(Access::Form::OpenAi, bad_fields(Access::Form::Fal, errors));
  EXPECT_EQ(fields.status, 400);
  const ordered_json told = ordered_json::parse(fields.body).at("error");
  EXPECT_EQ(told.at("message"), "prompt: Field required; shift: Input should be a valid number");
  EXPECT_EQ(told.at("param"), "prompt");
  EXPECT_EQ(told.at("code"), "missing");
  EXPECT_EQ(refusal(Access::Form::OpenAi, 429, "rate_limited", "Later").status, 429);

  ApiExchange exchange;
  exchange.path_segments = {"v1", "videos"};
  EXPECT_EQ(form_of(exchange), Access::Form::OpenAi);
  exchange.path_segments = {"queue", "v1"};
  EXPECT_EQ(form_of(exchange), Access::Form::Fal);
}

TEST(Refusals, OfAFullDiskAreForNow) {
  EXPECT_TRUE(is_full_disk(std::system_error(ENOSPC, std::generic_category())));
  EXPECT_TRUE(is_full_disk(std::system_error(EDQUOT, std::system_category())));
  EXPECT_TRUE(
      is_full_disk(std::filesystem::filesystem_error("x", std::make_error_code(std::errc::no_space_on_device))));
  EXPECT_FALSE(is_full_disk(std::system_error(EIO, std::generic_category())));
  EXPECT_FALSE(is_full_disk(std::runtime_error("no space")));
  const Answer answer = no_room(Access::Form::WaveSpeed);
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(ordered_json::parse(answer.body).at("code"), 503);
  EXPECT_NE(header(answer, "Retry-After"), nullptr);
}

TEST(Webhook, HasTheFormOfItsRequest) {
  LiveJob job = live(JobStatus::Done);
  job.job.webhook_form = "fal http://h:1";
  ordered_json body = ordered_json::parse(webhook_body(job.job));
  EXPECT_EQ(body.at("status"), "OK");
  EXPECT_TRUE(body.at("error").is_null());
  EXPECT_EQ(body.at("payload").at("video").at("url"), "http://h:1/files/outputs/v.mp4");
  EXPECT_EQ(body.at("gateway_request_id"), "7");

  job = live(JobStatus::Failed);
  job.job.webhook_form = "fal http://h:1";
  body = ordered_json::parse(webhook_body(job.job));
  EXPECT_EQ(body.at("status"), "ERROR");
  EXPECT_EQ(body.at("error"), "it broke");
  EXPECT_EQ(body.at("payload").at("detail"), "it broke");

  job = live(JobStatus::Done, kWaveSpeed);
  job.job.webhook_form = "wavespeed http://h:1";
  EXPECT_EQ(ordered_json::parse(webhook_body(job.job)), wavespeed_task(job.job, kBase));
}

}  // namespace
}  // namespace wan::serve
