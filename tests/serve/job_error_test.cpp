// A worker's words about a failed job as the hosted APIs' types.
#include "engine/serve/work/job_error.h"

#include <gtest/gtest.h>

namespace wan::serve {
namespace {

FieldError said(const char* field, const char* wrong) {
  return {.field = field, .wrong = wrong, .type = "value_error", .limits = "", .input = ""};
}

TEST(JobError, HasTheVendorsTypes) {
  struct Case {
    const char *field, *wrong, *type;
  };
  constexpr Case kCases[] = {
      {"image_url", "must be a URL that can be read, got 'http://h/x': the server answers 404 (not found)",
       "file_download_error"},
      {"image_url", "must be a URL that can be read, got 'http://h/x': it has 300 bytes, at most 200 are read",
       "file_too_large"},
      {"audio_url", "must be a data URL that can be read (data:image/png;base64,...), got 'data:x': it has no comma",
       "file_download_error"},
      {"image_url", "must be an image (PNG, JPEG), got x: it is damaged or truncated", "image_load_error"},
      {"image_url", "must be an image (PNG, JPEG), got x: none of these by its first bytes",
       "unsupported_image_format"},
      {"image_url", "must be an image (PNG), got x: it has 9x9 pixels, at most 80 are read", "image_too_large"},
      {"audio_url", "must be a sound file, got x: it has no sound", "unsupported_audio_format"},
      {"audio_url", "must be a sound file, got x: it lasts more than 7200 s", "audio_duration_too_long"},
      {"audio_url", "must be a sound of at most 120 s, got x, which lasts more than 120 s", "audio_duration_too_long"},
      {"audio_url", "must last at least 45 ms, lasts 3 ms; give a longer sound", "audio_duration_too_short"},
      {"video_url", "must be a video, got x: it has no moving picture", "unsupported_video_format"},
      {"num_frames", "must be at most 9, the frames that x has, got 81", "video_duration_too_short"}};
  for (const Case& known : kCases) {
    SCOPED_TRACE(known.wrong);
    const JobError error = job_error("request", {said(known.field, known.wrong)}, "");
    EXPECT_EQ(error.status, 422);
    ASSERT_EQ(error.detail.size(), 1u);
    EXPECT_EQ(error.detail[0]["type"], known.type);
    EXPECT_EQ(error.detail[0]["loc"], nlohmann::ordered_json({"body", known.field}));
    EXPECT_NE(error.detail[0]["msg"].get<std::string>().find(known.wrong), std::string::npos);
  }
}

TEST(JobError, TellsLimits) {
  const auto ctx = [](const char* field, const char* wrong) {
    return job_error("request", {said(field, wrong)}, "").detail[0].value("ctx", nlohmann::ordered_json());
  };
  EXPECT_EQ(ctx("audio_url", "must be a sound file, got x: it lasts more than 7200 s").at("max_duration"), 7200);
  EXPECT_NEAR(ctx("audio_url", "must last at least 45 ms, lasts 3 ms").at("min_duration").get<double>(), 0.045, 1e-12);
  EXPECT_TRUE(ctx("audio_url", "must be a sound file, got x: it has no sound").is_null());
}

TEST(JobError, OfTheMachineIsTheServers) {
  for (const char* kind : {"model", "device", "machine", "no kind that is known"}) {
    const JobError error = job_error(kind, {}, "/home/anna/models/vae.pth: No such file");
    EXPECT_EQ(error.status, 500) << kind;
    EXPECT_EQ(error.type, "runner_server_error");
    EXPECT_EQ(error.text().find("anna"), std::string::npos) << error.text();
    EXPECT_NE(error.text().find("its log says why"), std::string::npos) << error.text();
  }
  EXPECT_NE(job_error("machine", {}, "CUDA out of memory").text().find("too little memory"), std::string::npos);
  const JobError operators =
      job_error("request", {said("device_memory", "is too little"), said("out", "is there")}, "both");
  EXPECT_EQ(operators.status, 500);
  EXPECT_EQ(operators.detail, "The server is not set up for this job (device_memory, out); its log says why");
  const JobError mixed = job_error("request", {said("out", "is there"), said("image_url", "must be an image")}, "");
  EXPECT_EQ(mixed.status, 422);
  EXPECT_EQ(mixed.detail.size(), 1u);
}

TEST(JobError, OfASafetyCheckIsAContentPolicyViolation) {
  const JobError input =
      job_error("refused", {said("image_url", "must not show what the safety checker flags: x")}, "");
  EXPECT_EQ(input.status, 422);
  EXPECT_TRUE(input.is_refusal());
  EXPECT_EQ(input.detail[0]["type"], "content_policy_violation");
  EXPECT_EQ(input.detail[0]["loc"], nlohmann::ordered_json({"body", "image_url"}));
  const JobError video = job_error("refused", {said("out", "must not show it")}, "/home/anna/a.refused.mp4");
  EXPECT_EQ(video.detail[0]["loc"], nlohmann::ordered_json({"body", "prompt"})) << "a field that each endpoint has";
  EXPECT_EQ(video.detail.dump().find("anna"), std::string::npos);
  EXPECT_FALSE(job_error("request", {said("image_url", "must be an image")}, "").is_refusal());
  EXPECT_EQ(job_error("request", {said("expander_url", "must be a URL, got http://inside")}, "").status, 500);
  EXPECT_EQ(job_error("request", {said("blocked_words", "cannot be read: /home/anna/words")}, "").status, 500)
      << "the operator's";
}

TEST(JobError, OfACancelledJobIsNoFailureOfTheServer) {
  EXPECT_EQ(job_error("cancelled", {}, "").status, 400);
  EXPECT_EQ(job_error("cancelled", {}, "").type, "client_cancelled");
  EXPECT_EQ(start_timeout_error().status, 504);
}

}  // namespace
}  // namespace wan::serve
