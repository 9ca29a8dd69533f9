// From a request's values to what a worker renders.
#include "engine/serve/api/job_fields.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace wan::serve {
namespace {

using nlohmann::json;

const char* const kText = "fal-ai/wan/v2.2-a14b/text-to-video";
const char* const kVideo = "fal-ai/wan/v2.2-a14b/video-to-video";
const char* const kSpeech = "fal-ai/wan/v2.2-14b/speech-to-video";
const char* const kWaveSpeed = "wavespeed-ai/wan-2.2/speech-to-video";

Settings settings() {
  Settings settings;
  settings.models = {{"t2v", "/models/t2v"}, {"i2v", "/models/i2v"}, {"s2v", "/models/s2v"}};
  return settings;
}

struct Made {
  JobFields job;
  ErrorList errors = ErrorList::array();
};

Made make(const char* path, const json& body, const Settings& with = settings()) {
  Made made;
  const Endpoint& endpoint = *find_endpoint(path);
  const json values = check_body(endpoint, body, made.errors);
  made.job = job_fields(endpoint, values, with, made.errors);
  return made;
}

bool has_note(const Made& made, const std::string& words) {
  for (const std::string& note : made.job.notes)
    if (note.find(words) != std::string::npos) return true;
  return false;
}

TEST(JobFields, HaveTheHostedDefaults) {
  const Made made = make(kText, {{"prompt", "a cat"}, {"seed", 7}});
  EXPECT_TRUE(made.errors.empty()) << made.errors.dump();
  const json& fields = made.job.fields;
  EXPECT_EQ(fields.at("task"), "t2v");
  EXPECT_EQ(fields.at("model"), "/models/t2v");
  EXPECT_EQ(fields.at("prompt"), "a cat");
  EXPECT_EQ(fields.at("seed"), 7);
  EXPECT_EQ(fields.at("num_frames"), 81);
  EXPECT_EQ(fields.at("guidance_scale_2"), 4);
  EXPECT_EQ(fields.at("resolution"), "720p");
  EXPECT_EQ(fields.at("acceleration"), "none");
  EXPECT_FALSE(fields.contains("interpolator_model"));
  EXPECT_FALSE(fields.contains("num_interpolated_frames"));
  EXPECT_TRUE(has_note(made, "interpolator_model"));
  EXPECT_TRUE(has_note(made, "acceleration is 'none'"));
}

TEST(JobFields, AreWhatTheClientSent) {
  const Made made = make(kText, {{"prompt", ""},
                                 {"num_frames", "33"},
                                 {"shift", 3},
                                 {"seed", "9007199254740993"},
                                 {"interpolator_model", "none"},
                                 {"num_interpolated_frames", 2},
                                 {"acceleration", "none"}});
  EXPECT_TRUE(made.errors.empty()) << made.errors.dump();
  EXPECT_EQ(made.job.fields.at("num_frames"), 33);
  EXPECT_EQ(made.job.fields.at("shift"), 3);
  EXPECT_EQ(made.job.fields.at("seed"), 9007199254740993);
  EXPECT_EQ(made.job.fields.at("interpolator_model"), "none");
  EXPECT_TRUE(made.job.notes.empty());
}

TEST(JobFields, AccelerationIsObeyedAndItsDefaultIsTheServers) {
  const Made sent = make(kText, {{"prompt", ""}, {"acceleration", "regular"}});
  EXPECT_TRUE(sent.errors.empty()) << sent.errors.dump();
  EXPECT_EQ(sent.job.fields.at("acceleration"), "regular");
  EXPECT_FALSE(has_note(sent, "acceleration"));
  Settings fast = settings();
  fast.default_acceleration = "regular";
  const Made absent = make(kText, {{"prompt", ""}}, fast);
  EXPECT_EQ(absent.job.fields.at("acceleration"), "regular");
  EXPECT_TRUE(has_note(absent, "acceleration is 'regular' (the default of this server)"));
  EXPECT_EQ(make(kText, {{"prompt", ""}, {"acceleration", "none"}}, fast).job.fields.at("acceleration"), "none");
}

TEST(JobFields, RefuseWhatIsAskedForAndNotThere) {
  const Made made = make(kText, {{"prompt", ""},
                                 {"interpolator_model", "film"},
                                 {"num_interpolated_frames", 1},
                                 {"enable_safety_checker", true},
                                 {"enable_prompt_expansion", "yes"}});
  std::vector<std::string> names;
  for (const auto& error : made.errors) {
    EXPECT_EQ(error["type"], "value_error");
    names.push_back(error["loc"][1]);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"enable_safety_checker", "enable_prompt_expansion", "interpolator_model",
                                             "num_interpolated_frames"}));
  EXPECT_NE(made.errors[0]["msg"].get<std::string>().find("send false"), std::string::npos);
}

TEST(JobFields, HaveAnInterpolatorWhereTheServerHasItsWeights) {
  Settings with = settings();
  with.interpolators["film"] = "/weights/film_net_fp32.pt";
  const Made made = make(kText, {{"prompt", "a cat"}}, with);
  EXPECT_TRUE(made.errors.empty()) << made.errors.dump();
  EXPECT_EQ(made.job.fields.at("interpolator_model"), "film");
  EXPECT_EQ(made.job.fields.at("num_interpolated_frames"), 1);
  EXPECT_EQ(made.job.fields.at("interpolator"), "/weights/film_net_fp32.pt");
  EXPECT_FALSE(has_note(made, "interpolator_model"));
  const Made rife = make(kText, {{"prompt", ""}, {"interpolator_model", "rife"}, {"num_interpolated_frames", 0}}, with);
  ASSERT_EQ(rife.errors.size(), 1u) << rife.errors.dump();
  EXPECT_EQ(rife.errors[0]["loc"][1], "interpolator_model");
  EXPECT_NE(rife.errors[0]["msg"].get<std::string>().find("send 'none'"), std::string::npos) << rife.errors.dump();
  const Made none = make(kText, {{"prompt", ""}, {"interpolator_model", "none"}}, with);
  EXPECT_FALSE(none.job.fields.contains("interpolator"));
}

TEST(JobFields, HaveALanguageServerWhereTheServerKnowsOne) {
  Settings with = settings();
  with.expander_url = "http://127.0.0.1:8080";
  with.expander_model = "small";
  const Made made = make(kText, {{"prompt", "a cat"}, {"enable_prompt_expansion", true}}, with);
  EXPECT_TRUE(made.errors.empty()) << made.errors.dump();
  EXPECT_EQ(made.job.fields.at("enable_prompt_expansion"), true);
  EXPECT_EQ(made.job.fields.at("expander_url"), "http://127.0.0.1:8080");
  EXPECT_EQ(made.job.fields.at("expander_model"), "small");
  EXPECT_EQ(made.job.fields.at("expander_timeout"), 120);
  for (const json& body : {json{{"prompt", "a cat"}}, json{{"prompt", "a cat"}, {"enable_prompt_expansion", false}}}) {
    const Made off = make(kText, body, with);
    EXPECT_EQ(off.job.fields.at("enable_prompt_expansion"), false) << "nobody is asked unless the request wants it";
    EXPECT_FALSE(off.job.fields.contains("expander_url"));
    EXPECT_FALSE(has_note(off, "enable_prompt_expansion"));
  }
  with.worker_timeout = std::chrono::seconds(60);
  EXPECT_EQ(make(kText, {{"prompt", ""}, {"enable_prompt_expansion", true}}, with).job.fields.at("expander_timeout"),
            30)
      << "a worker that waits is not taken for one that hangs";
  with.render = {{"enable_prompt_expansion", "true"}, {"expander_timeout", "7"}};
  const Made all = make(kText, {{"prompt", "a cat"}}, with);
  EXPECT_EQ(all.job.fields.at("expander_url"), "http://127.0.0.1:8080");
  EXPECT_EQ(all.job.fields.at("expander_timeout"), 7);
  EXPECT_TRUE(has_note(all, "enable_prompt_expansion is true for every request"));
}

TEST(JobFields, AreCheckedWhereTheServerHasAChecker) {
  Settings with = settings();
  with.safety_checker = "/checkers/falconsai";
  with.safety_threshold = 0.7;
  const Made asked =
      make(kVideo, {{"prompt", ""}, {"video_url", "http://h/v"}, {"enable_output_safety_checker", true}}, with);
  EXPECT_TRUE(asked.errors.empty()) << asked.errors.dump();
  EXPECT_EQ(asked.job.fields.at("enable_safety_checker"), false);
  EXPECT_EQ(asked.job.fields.at("enable_output_safety_checker"), true);
  EXPECT_EQ(asked.job.fields.at("safety_checker"), "/checkers/falconsai");
  EXPECT_EQ(asked.job.fields.at("safety_threshold"), 0.7);
  EXPECT_EQ(asked.job.fields.at("safety_action"), "refuse");
  EXPECT_EQ(asked.job.fields.at("discard"), true) << "a refused video is kept nowhere";
  const json unasked = make(kText, {{"prompt", ""}}, with).job.fields;
  EXPECT_FALSE(unasked.contains("safety_checker"));
  EXPECT_EQ(unasked.at("enable_output_safety_checker"), false) << "the endpoint has no such field";
  with.render = {{"enable_output_safety_checker", "true"}};
  EXPECT_EQ(make(kText, {{"prompt", ""}}, with).job.fields.at("safety_checker"), "/checkers/falconsai")
      << "every video of this server";
}

TEST(JobFields, OfATextAreCheckedByWordsAlone) {
  Settings with = settings();
  with.blocked_words = "/words.txt";
  const Made text = make(kText, {{"prompt", ""}, {"enable_safety_checker", true}}, with);
  EXPECT_TRUE(text.errors.empty()) << text.errors.dump();
  EXPECT_EQ(text.job.fields.at("blocked_words"), "/words.txt");
  const Made video = make(kVideo, {{"prompt", ""}, {"video_url", "http://h/v"}, {"enable_safety_checker", true}}, with);
  ASSERT_EQ(video.errors.size(), 1u) << video.errors.dump();
  EXPECT_EQ(video.errors[0]["loc"][1], "enable_safety_checker");
}

TEST(JobFields, DrawASeedOfThirtyOneBits) {
  for (const json& seed : {json(), json(-1)}) {
    json body = {{"prompt", ""}};
    body["seed"] = seed;
    const json first = make(kText, body).job.fields.at("seed"), second = make(kText, body).job.fields.at("seed");
    EXPECT_GE(first, 0);
    EXPECT_LE(first, 2147483647);
    EXPECT_NE(first, second);
  }
}

TEST(JobFields, LeaveTheLengthOfAVideoToIt) {
  EXPECT_FALSE(make(kVideo, {{"prompt", ""}, {"video_url", "http://h/v"}}).job.fields.contains("num_frames"));
  EXPECT_EQ(make(kVideo, {{"prompt", ""}, {"video_url", "http://h/v"}, {"num_frames", 81}}).job.fields["num_frames"],
            81);
  EXPECT_EQ(make(kVideo, {{"prompt", ""}, {"video_url", "http://h/v"}}).job.fields.at("model"), "/models/t2v");
  const json speech = {{"prompt", ""}, {"image_url", "http://h/i"}, {"audio_url", "http://h/a"}};
  EXPECT_EQ(make(kSpeech, speech).job.fields.at("num_frames"), 80);
}

TEST(JobFields, OfWaveSpeedHaveTheEnginesNames) {
  const Made made = make(kWaveSpeed, {{"image", "http://h/i"}, {"audio", "http://h/a"}, {"seed", -1}});
  EXPECT_TRUE(made.errors.empty()) << made.errors.dump();
  const json& fields = made.job.fields;
  EXPECT_EQ(fields.at("image_url"), "http://h/i");
  EXPECT_EQ(fields.at("audio_url"), "http://h/a");
  EXPECT_EQ(fields.at("prompt"), "");
  EXPECT_EQ(fields.at("max_seconds"), 120);
  EXPECT_EQ(fields.at("most_audio_seconds"), 120) << "longer sound is refused, not cut";
  EXPECT_FALSE(fields.contains("num_frames"));
  EXPECT_FALSE(fields.contains("enable_sync_mode"));
}

TEST(JobFields, ObeyTheOperator) {
  Settings with = settings();
  with.size_override = "64x128";
  with.private_urls = false;
  with.precision = "fast";
  with.render = {{"num_inference_steps", "3"}, {"guidance_scale_2", "2.5"}, {"deinterlace", "false"}};
  const Made made = make(kText, {{"prompt", ""}, {"num_inference_steps", 20}}, with);
  EXPECT_TRUE(made.errors.empty()) << made.errors.dump();
  const json& fields = made.job.fields;
  EXPECT_EQ(fields.at("width"), 64);
  EXPECT_EQ(fields.at("height"), 128);
  EXPECT_EQ(fields.at("private_urls"), false);
  EXPECT_EQ(fields.at("precision"), "fast");
  EXPECT_EQ(fields.at("num_inference_steps"), 3);
  EXPECT_EQ(fields.at("guidance_scale_2"), 2.5);
  EXPECT_FALSE(fields.contains("deinterlace")) << "t2v does not take it";
  EXPECT_TRUE(has_note(made, "64x128"));
  EXPECT_TRUE(has_note(made, "num_inference_steps is 3"));
  with.render = {{"no_such_field", "1"}};
  EXPECT_THROW(make(kText, {{"prompt", ""}}, with), InvalidRequest);
}

TEST(JobFields, AreRefusedWhereTheEngineCannotTakeThem) {
  const Made made = make(kText, {{"prompt", std::string(2 << 20, 'a')}, {"seed", -2}});
  ASSERT_EQ(made.errors.size(), 2u) << made.errors.dump();
  EXPECT_EQ(made.errors[0]["type"], "string_too_long");
  EXPECT_EQ(made.errors[0]["loc"][1], "prompt");
  EXPECT_EQ(made.errors[1]["type"], "greater_than_equal");
}

}  // namespace
}  // namespace wan::serve
