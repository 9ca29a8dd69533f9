// OpenAI's video calls: requests in the words of our endpoints, jobs as videos, errors in OpenAI's form.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/serve/api/answers.h"
#include "engine/serve/api/openai_answers.h"
#include "engine/serve/api/openai_fields.h"
#include "tests/serve/handlers_scene.h"
#include "tests/serve/plain_exchange.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kText = "fal-ai/wan/v2.2-a14b/text-to-video", kPicture = "fal-ai/wan/v2.2-a14b/image-to-video",
                  kVideo = "fal-ai/wan/v2.2-a14b/video-to-video";
const std::string kFile = std::string(32, 'a') + ".mp4";

class OpenAi : public HandlersScene {
 protected:
  OpenAi() { settings_.least_free_bytes = 0; }

  Answer send(ApiExchange exchange) {
    std::vector<ApiExchange> exchanges(1, std::move(exchange));
    return ask_all(exchanges).front();
  }
  /// POST with JSON.
  Answer post(const std::string& path, const json& body, const std::string& key = "") {
    return ask("POST", path, body.dump(), key);
  }
  /// The video that a call answers with 200.
  json made(const json& body, const std::string& key = "") {
    const Answer answer = post("/v1/videos", body, key);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json_of(answer);
  }
  /// What an answer of this status says went wrong.
  json error(const Answer& answer, int status) {
    EXPECT_EQ(answer.status, status) << answer.body;
    const json body = json_of(answer);
    for (const char* member : {"message", "type", "param", "code"}) {
      EXPECT_TRUE(body.contains("error") && body["error"].contains(member)) << member << ": " << answer.body;
    }
    return body.value("error", json::object());
  }
  JobPtr job_of(const json& video) { return wait_for(jobs_->find(video.at("id"), std::nullopt)); }
  /// Ends a job with a video of these bytes.
  void finish(const JobPtr& job, const std::string& bytes = "a video") {
    std::ofstream(settings_.data / "outputs" / kFile, std::ios::binary) << bytes;
    jobs_->done(job,
                {.file = kFile, .bytes = bytes.size(), .seed = 1, .prompt = "a cat", .seconds = 1, .video_seconds = 4});
    ASSERT_TRUE(until_ended({job}));
  }
  std::vector<std::string> listed(const std::map<std::string, std::string>& query, const std::string& key = "") {
    ApiExchange exchange = request("GET", "/v1/videos", "", key);
    exchange.parameters = query;
    const Answer answer = send(exchange);
    EXPECT_EQ(answer.status, 200) << answer.body;
    list_ = json_of(answer);
    std::vector<std::string> ids;
    for (const json& video : list_.at("data")) ids.push_back(video.at("id"));
    return ids;
  }

  json list_;  // the last one
};

std::string part(const std::string& name, const std::string& value, const std::string& more = "") {
  return "--line\r\nContent-Disposition: form-data; name=\"" + name + "\"" + more + "\r\n\r\n" + value + "\r\n";
}

bool says(const json& error, const std::string& words) {
  return error.value("message", "").find(words) != std::string::npos;
}

TEST_F(OpenAi, AVideoIsTheNearestThatTheEndpointHas) {
  begin_api();
  const json video = made({{"prompt", "a cat"},
                           {"model", "sora-2"},
                           {"seconds", "4"},
                           {"size", "1792x1024"},
                           {"num_inference_steps", 2},
                           {"guidance_scale", 4},
                           {"guidance_scale_2", 3}});
  EXPECT_EQ(video.at("object"), "video");
  EXPECT_EQ(video.at("status"), "queued");
  EXPECT_EQ(video.at("progress"), 0);
  EXPECT_EQ(video.at("model"), "sora-2");
  EXPECT_EQ(video.at("seconds"), "4");
  EXPECT_EQ(video.at("size"), "1280x720");
  EXPECT_EQ(video.at("prompt"), "a cat");
  EXPECT_TRUE(video.at("error").is_null());
  const JobPtr job = job_of(video);
  ASSERT_TRUE(job);
  EXPECT_EQ(job->job.endpoint, kText);
  EXPECT_EQ(job->job.fields.at("num_frames"), 64);
  EXPECT_EQ(job->job.fields.at("guidance_scale"), 4) << "of the high-noise expert";
  EXPECT_EQ(job->job.fields.at("guidance_scale_2"), 3) << "of the low-noise expert";
  EXPECT_EQ(job->job.input.at("model"), "sora-2");

  const json longest = made({{"prompt", ""}, {"seconds", 12}, {"size", "640x360"}});
  EXPECT_EQ(longest.at("seconds"), "7.5625");
  EXPECT_EQ(longest.at("size"), "832x480");
  EXPECT_EQ(longest.at("model"), "t2v");
  const JobPtr cut = job_of(longest);
  bool is_told = false;
  for (const LogEntry& entry : cut->logs) is_told |= entry.message.find("seconds is 7.5625") == 0;
  EXPECT_TRUE(is_told);

  const json own = made({{"prompt", ""}, {"seconds", 5}, {"num_frames", 81}, {"size", "720x1280"}, {"fps", 24}});
  EXPECT_EQ(own.at("seconds"), "3.375") << "num_frames goes before seconds";
  EXPECT_EQ(own.at("size"), "720x1280");
}

TEST_F(OpenAi, AFormMayHoldAPicture) {
  settings_.models["i2v"] = "/models/i2v";
  begin_api();
  const std::string picture = std::string("\x89PNG\r\n\x1A\n\0\r\n--lin", 16);
  ApiExchange exchange = request("POST", "/v1/videos");
  exchange.headers["Content-Type"] = "multipart/form-data; boundary=line";
  exchange.body = part("prompt", "a cat") + part("seconds", "2") + part("num_inference_steps", "3") + part("seed", "") +
                  part("input_reference", picture, "; filename=\"a.png\"\r\nContent-Type: image/png") + "--line--\r\n";
  const Answer answer = send(exchange);
  ASSERT_EQ(answer.status, 200) << answer.body;
  const JobPtr job = job_of(json_of(answer));
  EXPECT_EQ(job->job.endpoint, kPicture);
  EXPECT_EQ(job->job.fields.at("num_inference_steps"), 3);
  EXPECT_EQ(job->job.fields.at("num_frames"), 32);
  EXPECT_EQ(json_of(answer).at("size"), "auto") << "the picture decides";
  const fs::path file = job->job.fields.at("image_url").get<std::string>();
  std::ifstream in(file, std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), picture);
  EXPECT_TRUE(Files::is_input_name(file.filename().string())) << "it goes with its job";
  EXPECT_EQ(job->job.input.at("image_url"), "/files/uploads/" + file.filename().string());

  exchange.body = part("prompt", "") + part("input_reference[image_url]", "http://192.0.2.1/x.png") + "--line--";
  const Answer by_url = send(exchange);
  ASSERT_EQ(by_url.status, 200) << by_url.body;
  EXPECT_EQ(job_of(json_of(by_url))->job.fields.at("image_url"), "http://192.0.2.1/x.png");

  exchange.body = part("prompt", "") + part("other", "x", "; filename=\"a.txt\"") + "--line--";
  EXPECT_TRUE(says(error(send(exchange), 400), "other: Input should be text, got a file"));
  exchange.body = "no form";
  EXPECT_EQ(error(send(exchange), 400).at("code"), "form_invalid");
}

TEST_F(OpenAi, ErrorsHaveOpenAisForm) {
  begin_api();
  const json wrong = error(post("/v1/videos", {{"num_frames", 5}, {"seconds", "soon"}, {"size", "big"}}), 400);
  EXPECT_EQ(wrong.at("type"), "invalid_request_error");
  EXPECT_TRUE(wrong.at("param").is_string());
  for (const char* field : {"prompt: Field required", "num_frames: ", "seconds: ", "size: "})
    EXPECT_TRUE(says(wrong, field)) << wrong;
  const json reference = error(post("/v1/videos", {{"prompt", ""}, {"model", "t2v"}, {"input_reference", "x"}}), 400);
  EXPECT_EQ(reference.at("param"), "input_reference");
  EXPECT_EQ(error(post("/v1/videos", {{"prompt", ""}, {"model", "gpt"}}), 404).at("code"), "model_not_found");
  EXPECT_TRUE(says(error(post("/v1/videos", {{"prompt", ""}, {"model", "i2v"}}), 404), "--model i2v=DIR"));
  EXPECT_EQ(error(ask("POST", "/v1/videos", "{"), 400).at("code"), "json_invalid");
  EXPECT_EQ(error(ask("POST", "/v1/videos", "[]"), 400).at("code"), "model_attributes_type");
  EXPECT_EQ(error(ask("GET", "/v1/videos/no-such"), 404).at("code"), "not_found");
  EXPECT_EQ(error(ask("GET", "/v1/videos?limit=0"), 400).at("param"), "limit");
  EXPECT_EQ(error(ask("GET", "/v1/videos?order=up"), 400).at("param"), "order");
  EXPECT_EQ(error(ask("GET", "/v1/videos?after=no-such"), 404).at("code"), "not_found");
  EXPECT_EQ(error(ask("POST", "/v1/videos/extensions", "{}"), 404).at("code"), "not_offered");
  EXPECT_TRUE(jobs_->unfinished().empty());
}

TEST_F(OpenAi, AFieldIsNamedAsTheClientCallsIt) {
  settings_.models["i2v"] = "/models/i2v";
  begin_api();
  const json file = error(post("/v1/videos", {{"prompt", ""}, {"input_reference", "file:///etc/passwd"}}), 400);
  EXPECT_EQ(file.at("param"), "input_reference");
  EXPECT_EQ(file.at("code"), "file_download_error");
  const json rate = error(post("/v1/videos", {{"prompt", ""}, {"fps", 1000}}), 400);
  EXPECT_EQ(rate.at("param"), "fps");
  const json id = error(post("/v1/videos", {{"prompt", ""}, {"input_reference", {{"file_id", "file-1"}}}}), 400);
  EXPECT_TRUE(says(id, "send the file itself"));
}

TEST_F(OpenAi, KeysAreAskedFor) {
  begin_api({key_named("anna"), key_named("bert")});
  EXPECT_EQ(error(post("/v1/videos", {{"prompt", "a cat"}}), 401).at("code"), "invalid_api_key");
  EXPECT_EQ(error(ask("GET", "/v1/videos"), 401).at("type"), "authentication_error");
  const json video = made({{"prompt", "a cat"}}, "anna");
  const std::string path = "/v1/videos/" + video.at("id").get<std::string>();
  EXPECT_EQ(ask("GET", path, "", "anna").status, 200);
  error(ask("GET", path, "", "bert"), 404);
  error(ask("DELETE", path, "", "bert"), 404);
  EXPECT_TRUE(listed({}, "bert").empty());
  EXPECT_EQ(listed({}, "anna").size(), 1u);
}

TEST_F(OpenAi, ListsHavePages) {
  begin_api();
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(made({{"prompt", std::to_string(i)}}).at("id"));
  ask("POST", "/queue/" + kText, json{{"prompt", "by fal's call"}}.dump());
  ids.push_back(jobs_->unfinished().back()->job.id);
  std::vector<std::string> newest(ids.rbegin(), ids.rend());
  EXPECT_EQ(listed({}), newest) << "the same jobs, whichever call made them";
  EXPECT_EQ(list_.at("has_more"), false);
  EXPECT_EQ(listed({{"limit", "2"}}), (std::vector<std::string>{ids[3], ids[2]}));
  EXPECT_EQ(list_.at("has_more"), true);
  EXPECT_EQ(list_.at("last_id"), ids[2]);
  EXPECT_EQ(listed({{"limit", "2"}, {"after", ids[2]}}), (std::vector<std::string>{ids[1], ids[0]}));
  EXPECT_EQ(list_.at("has_more"), false);
  EXPECT_EQ(listed({{"order", "asc"}, {"limit", "3"}}), (std::vector<std::string>{ids[0], ids[1], ids[2]}));
  EXPECT_EQ(listed({{"order", "asc"}, {"after", ids[2]}}), std::vector<std::string>{ids[3]});
  for (const std::string& id : {ids[3], ids[2]}) EXPECT_EQ(ask("DELETE", "/v1/videos/" + id).status, 200);
  EXPECT_EQ(listed({{"limit", "2"}, {"after", ids[2]}}), (std::vector<std::string>{ids[1], ids[0]}))
      << "whoever removes what is listed goes on behind it";
}

TEST_F(OpenAi, AFinishedVideoHasContent) {
  begin_api();
  const json video = made({{"prompt", "a cat"}, {"seconds", "4"}});
  const std::string path = "/v1/videos/" + video.at("id").get<std::string>();
  const Answer open = ask("GET", path);
  EXPECT_FALSE(header_of(open.headers, "openai-poll-after-ms").empty());
  EXPECT_EQ(error(ask("GET", path + "/content"), 400).at("code"), "video_not_ready");
  const JobPtr job = job_of(video);
  finish(job);
  const Answer ended = ask("GET", path);
  EXPECT_TRUE(header_of(ended.headers, "openai-poll-after-ms").empty());
  const json done = json_of(ended);
  EXPECT_EQ(done.at("status"), "completed");
  EXPECT_EQ(done.at("progress"), 100);
  EXPECT_GE(done.at("completed_at").get<int64_t>(), done.at("created_at").get<int64_t>());
  EXPECT_EQ(done.at("expires_at").get<int64_t>() - done.at("completed_at").get<int64_t>(), 7 * 24 * 3600);

  for (const char* query : {"", "?variant=video"}) {
    const Answer content = ask("GET", path + "/content" + query);
    ASSERT_TRUE(content.file) << query;
    EXPECT_EQ(content.file->path.filename().string(), kFile);
    EXPECT_EQ(content.file->end, 7u);
  }
  EXPECT_EQ(error(ask("GET", path + "/content?variant=thumbnail"), 404).at("param"), "variant");
  const std::string picture = "\xFF\xD8\xFF picture";
  std::ofstream(settings_.data / "previews" / (job->job.preview_key + ".jpg"), std::ios::binary) << picture;
  const Answer thumbnail = ask("GET", path + "/content?variant=thumbnail");
  EXPECT_EQ(thumbnail.type, "image/jpeg");
  EXPECT_EQ(thumbnail.body, picture);
  EXPECT_EQ(error(ask("GET", path + "/content?variant=spritesheet"), 404).at("code"), "variant_not_available");
  EXPECT_EQ(error(ask("GET", path + "/content?variant=poster"), 400).at("param"), "variant");
}

TEST_F(OpenAi, AVideoIsRemoved) {
  begin_api();
  const json waits = made({{"prompt", "a cat"}}), done = made({{"prompt", "a dog"}});
  finish(job_of(done));
  for (const json& video : {waits, done}) {
    const std::string id = video.at("id"), path = "/v1/videos/" + id;
    const Answer answer = ask("DELETE", path);
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(json_of(answer), (json{{"id", id}, {"object", "video.deleted"}, {"deleted", true}}));
    error(ask("GET", path), 404);
    error(ask("DELETE", path), 404);
  }
  EXPECT_TRUE(jobs_->unfinished().empty()) << "one that waits is cancelled";
}

TEST_F(OpenAi, ARemixBeginsWithItsSource) {
  begin_api();
  const json video = made({{"prompt", "a cat"}, {"num_inference_steps", 5}, {"size", "832x480"}});
  const std::string id = video.at("id"), path = "/v1/videos/" + id + "/remix";
  EXPECT_EQ(error(post(path, {{"prompt", "a dog"}}), 400).at("code"), "video_not_ready");
  finish(job_of(video), "the source");
  const Answer answer = post(path, {{"prompt", "a dog"}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  const json remix = json_of(answer);
  EXPECT_EQ(remix.at("remixed_from_video_id"), id);
  EXPECT_EQ(remix.at("prompt"), "a dog");
  const JobPtr job = job_of(remix);
  EXPECT_EQ(job->job.endpoint, kVideo);
  EXPECT_EQ(job->job.fields.at("num_inference_steps"), 5);
  EXPECT_EQ(job->job.fields.at("resolution"), "480p");
  EXPECT_EQ(job->job.fields.at("resample_fps"), true);
  std::ifstream in(job->job.fields.at("video_url").get<std::string>(), std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "the source");

  const Answer other = post(path, {{"prompt", "a dog"}, {"size", "1280x720"}, {"fps", 24}});
  ASSERT_EQ(other.status, 200) << other.body;
  EXPECT_EQ(job_of(json_of(other))->job.fields.at("resolution"), "720p") << "not that of the source";
  EXPECT_EQ(job_of(json_of(other))->job.fields.at("frames_per_second"), 24);

  const Answer edit = post("/v1/videos/edits", {{"prompt", "a fox"}, {"video", {{"id", id}}}});
  ASSERT_EQ(edit.status, 200) << edit.body;
  EXPECT_EQ(job_of(json_of(edit))->job.endpoint, kVideo);
  EXPECT_EQ(error(post("/v1/videos/edits", {{"prompt", "a fox"}}), 400).at("param"), "video");
  fs::remove(settings_.data / "outputs" / kFile);
  error(post(path, {{"prompt", "a dog"}}), 400);
}

TEST_F(OpenAi, GenerationsAnswerWithTheVideo) {
  settings_.answer_paths = true;
  begin_api();
  dispatcher_->resume();
  // As MLPerf's load generator sends it.
  json body = {{"prompt", "a cat"},
               {"negative_prompt", "bad"},
               {"size", "1280x720"},
               {"seconds", 5.0},
               {"fps", 16},
               {"num_inference_steps", 20},
               {"guidance_scale", 4.0},
               {"guidance_scale_2", 3.0},
               {"seed", 42},
               {"num_frames", 81},
               {"boundary_ratio", 0.8},
               {"output_format", "auto"},
               {"response_format", "video_path"}};
  const auto generate = [&](const std::string& path) {
    ApiExchange exchange = request("POST", path, body.dump());
    exchange.leaves = false;
    return send(exchange);
  };
  const Answer by_path = generate("/v1/videos/generations");
  ASSERT_EQ(by_path.status, 200) << by_path.body;
  const json path = json_of(by_path);
  EXPECT_EQ(path.size(), 2u) << "its client takes nothing else";
  const std::string id = path.at("video_id"), file = path.at("video_path");
  EXPECT_TRUE(file.starts_with(settings_.data.string())) << file;
  std::ifstream in(file, std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "video of " + id);
  const JobPtr job = job_of({{"id", id}});
  EXPECT_EQ(job->job.fields.at("boundary"), 0.8);
  EXPECT_EQ(job->job.fields.at("interpolator_model"), "none");
  EXPECT_EQ(job->job.fields.at("num_frames"), 81);
  EXPECT_EQ(job->job.fields.at("seed"), 42);
  EXPECT_TRUE(job->job.awaited);

  body["response_format"] = "video_bytes";
  const json bytes = json_of(generate("/v1/videos/generations"));
  EXPECT_EQ(bytes.size(), 2u);
  const std::string text = bytes.at("video_bytes");
  EXPECT_TRUE(text.starts_with("dmlkZW8gb2Yg")) << text;  // "video of "
  EXPECT_EQ(text.size(), 60u) << "45 bytes";

  body.erase("response_format");
  EXPECT_TRUE(generate("/v1/videos/sync").file);
  body["prompt"] = "behave:machine";
  const json failed = error(generate("/v1/videos/sync"), 500);
  EXPECT_EQ(failed.at("type"), "server_error");
}

TEST_F(OpenAi, GenerationsRefuseWhatThisServerDoesNotAllow) {
  begin_api();
  const auto refused = [&](const char* name, const json& value) {
    return error(post("/v1/videos/generations", {{"prompt", ""}, {name, value}}), 400);
  };
  EXPECT_TRUE(says(refused("response_format", "video_path"), "--answer-paths"));
  EXPECT_EQ(refused("response_format", "url").at("param"), "response_format");
  EXPECT_TRUE(says(refused("latent_path", "noise.pt"), "--latents-dir"));
  EXPECT_EQ(refused("output_format", "avi").at("param"), "output_format");
  EXPECT_EQ(refused("boundary_ratio", 2).at("param"), "boundary_ratio");
  settings_.latents_dir = "/latents";
  for (const char* name : {"/latents/noise.pt", "../noise.pt", "a/b.pt", ".hidden", "a\\b"})
    EXPECT_TRUE(says(refused("latent_path", name), "plain name")) << name;
  EXPECT_TRUE(says(refused("latent_path", "noise.pt"), "cannot be obeyed yet"));
  EXPECT_TRUE(jobs_->unfinished().empty());
}

TEST(OpenAiAnswers, HaveTheFourStatusesAlone) {
  LiveJob live;
  live.job.fields = {{"task", "t2v"}, {"num_frames", 81}, {"frames_per_second", 16}};
  const auto status = [&](JobStatus of) {
    live.job.status = of;
    return video_json(live, 0);
  };
  EXPECT_EQ(status(JobStatus::Queued).at("status"), "queued");
  EXPECT_EQ(status(JobStatus::Running).at("status"), "in_progress");
  EXPECT_EQ(status(JobStatus::Done).at("status"), "completed");
  for (const JobStatus ended : {JobStatus::Failed, JobStatus::Cancelled}) {
    live.job.error =
        JobError{422, "", nlohmann::ordered_json::array({{{"loc", {"body", "image_url"}}, {"msg", "is no picture"}}})};
    const auto video = status(ended);
    EXPECT_EQ(video.at("status"), "failed");
    EXPECT_EQ(video.at("error").at("message"), "image_url: is no picture");
    EXPECT_TRUE(video.at("error").at("code").is_string());
  }
  EXPECT_EQ(status(JobStatus::Queued).at("seconds"), "5.0625");
  EXPECT_EQ(status(JobStatus::Queued).at("size"), "auto");
}

TEST(OpenAiAnswers, ProgressIsInPerCent) {
  const auto percent = [](const std::string& stage, int64_t step) {
    JobProgress progress;
    progress.stage = stage;
    progress.step = step;
    progress.steps = 20;
    return percent_of(progress);
  };
  EXPECT_EQ(percent("load", 0), 0);
  EXPECT_EQ(percent("denoise", 0), 5);
  EXPECT_EQ(percent("denoise", 20), 90);
  EXPECT_EQ(percent("decode", 20), 98);
  EXPECT_EQ(percent("write", 0), 99);
  for (int64_t step = 1; step <= 20; ++step) EXPECT_GE(percent("denoise", step), percent("denoise", step - 1));
}

TEST(OpenAiFields, ANewModelsNameIsChosenByWhatComesWithIt) {
  const auto endpoint_of = [](const json& body) {
    ErrorList errors = ErrorList::array();
    return video_request(body, VideoDoor::Videos, false, errors).endpoint.path;
  };
  const std::string url = "http://h/x";
  EXPECT_EQ(endpoint_of({{"model", "sora-2-pro"}}), kText);
  EXPECT_EQ(endpoint_of({{"model", "sora-2-pro"}, {"input_reference", url}}), kPicture);
  EXPECT_EQ(endpoint_of({{"image_url", url}}), kPicture);
  EXPECT_EQ(endpoint_of({{"image_url", url}, {"audio_url", url}}), "fal-ai/wan/v2.2-14b/speech-to-video");
  EXPECT_EQ(endpoint_of({{"model", "v2v"}, {"input_reference", url}}), kVideo);
  EXPECT_EQ(endpoint_of({{"model", kPicture}}), kPicture);
  ErrorList errors = ErrorList::array();
  EXPECT_EQ(video_request({{"audio_url", ""}}, VideoDoor::Videos, true, errors).endpoint.path, kText)
      << "an empty field of a form is none";
}

}  // namespace
}  // namespace wan::serve
