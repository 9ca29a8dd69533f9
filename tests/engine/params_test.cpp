#include "engine/request/params.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/base/text.h"
#include "engine/request/expander_url.h"
#include "engine/request/parse.h"

namespace wan {
namespace {

using nlohmann::json;

const ParseOptions kFields = {.need_model = false, .check_files = false};
const ParseOptions kFlags = {.source = Source::Flags, .need_model = false, .check_files = false};

/// The least that the task takes, and `more`.
json fields(Task task, const json& more = json::object()) {
  json result = {{"prompt", "x"}, {"seed", 1}};
  for (const char* name : {"image_url", "video_url", "audio_url"})
    if (find_parameter(name)->accepts(task)) result[name] = "input";
  result.update(more);
  return result;
}

/// The errors' fields with their kinds, "" where the request is good.
std::string errors(Task task, const json& more, const ParseOptions& options = kFields) {
  try {
    parse(task, fields(task, more), options);
    return "";
  } catch (const InvalidRequest& invalid) {
    std::string text;
    for (const FieldError& error : invalid.errors) text += (text.empty() ? "" : " ") + error.field + ":" + error.type;
    return text;
  }
}

std::string message(Task task, const json& more, const ParseOptions& options = kFields) {
  try {
    parse(task, fields(task, more), options);
    return "";
  } catch (const InvalidRequest& invalid) {
    return invalid.what();
  }
}

// The hosted pages: task, field, default, least, most.
struct Page {
  Task task;
  const char* field;
  double value, least, most;
};
const Page kPages[] = {
    {Task::T2V, "num_frames", 81, 17, 121},
    {Task::I2V, "num_frames", 81, 17, 121},
    {Task::V2V, "num_frames", 81, 17, 161},
    {Task::S2V, "num_frames", 80, 40, 120},
    {Task::T2V, "frames_per_second", 16, 4, 60},
    {Task::S2V, "frames_per_second", 16, 4, 60},
    {Task::T2V, "num_inference_steps", 27, 2, 40},
    {Task::S2V, "num_inference_steps", 27, 2, 40},
    {Task::T2V, "guidance_scale", 3.5, 1, 10},
    {Task::S2V, "guidance_scale", 3.5, 1, 10},
    {Task::T2V, "guidance_scale_2", 4, 1, 10},
    {Task::I2V, "guidance_scale_2", 3.5, 1, 10},
    {Task::V2V, "guidance_scale_2", 4, 1, 10},
    {Task::T2V, "shift", 5, 1, 10},
    {Task::S2V, "shift", 5, 1, 10},
    {Task::V2V, "strength", 0.9, 0, 1},
};

TEST(Params, FollowTheHostedPages) {
  for (const Page& page : kPages) {
    SCOPED_TRACE(std::string(task_name(page.task)) + " " + page.field);
    json written = to_json(parse(page.task, fields(page.task), kFields));
    const Accepts& accepts = *find_parameter(page.field)->accepts(page.task);
    EXPECT_EQ(accepts.value.get<double>(), page.value);
    if (!accepts.from_input) {
      EXPECT_EQ(written.at(page.field).get<double>(), page.value);
    }
    EXPECT_EQ(errors(page.task, {{page.field, page.least}}), "");
    EXPECT_EQ(errors(page.task, {{page.field, page.most}}), "");
    const double step = page.task == Task::S2V ? 4 : 1;  // outside, and still a multiple
    EXPECT_EQ(errors(page.task, {{page.field, page.least - step}}), std::string(page.field) + ":greater_than_equal");
    EXPECT_EQ(errors(page.task, {{page.field, page.most + step}}), std::string(page.field) + ":less_than_equal");
  }
  EXPECT_EQ(errors(Task::S2V, {{"num_frames", 82}}), "num_frames:multiple_of");
  EXPECT_EQ(errors(Task::S2V, {{"num_frames", 82}, {"unlocked", true}}), "");
}

TEST(Params, FollowTheHostedPagesInWords) {
  Request text = parse(Task::T2V, fields(Task::T2V), kFields), speech = parse(Task::S2V, fields(Task::S2V), kFields);
  EXPECT_EQ(text.resolution, "720p");
  EXPECT_EQ(text.aspect_ratio, "16:9");
  EXPECT_EQ(speech.resolution, "480p");
  EXPECT_EQ(parse(Task::I2V, fields(Task::I2V), kFields).aspect_ratio, "auto");
  EXPECT_EQ(parse(Task::V2V, fields(Task::V2V), kFields).aspect_ratio, "auto");
  EXPECT_EQ(text.video_quality, "high");
  EXPECT_EQ(text.video_write_mode, "balanced");
  EXPECT_EQ(text.negative_prompt, "");
  EXPECT_EQ(errors(Task::T2V, {{"aspect_ratio", "auto"}}), "aspect_ratio:literal_error");
  EXPECT_EQ(errors(Task::T2V, {{"resolution", "1080p"}}), "resolution:literal_error");
}

TEST(Params, ReferencePresetIsTheOfficialConfiguration) {
  struct Row {
    Task task;
    int64_t steps;
    double shift, high, low, boundary;
    const char* negative;  // how it begins
  };
  for (const Row& row :
       {Row{Task::T2V, 40, 12, 4, 3, 0.875, "色调艳丽，过曝"}, Row{Task::I2V, 40, 5, 3.5, 3.5, 0.9, "色调艳丽，过曝"},
        Row{Task::V2V, 40, 12, 4, 3, 0.875, "色调艳丽，过曝"},
        Row{Task::S2V, 40, 3, 4.5, 0, 0, "画面模糊，最差质量"}}) {
    Request got = parse(row.task, fields(row.task, {{"preset", "reference"}}), kFields);
    EXPECT_EQ(got.num_inference_steps, row.steps);
    EXPECT_EQ(got.shift, row.shift);
    EXPECT_EQ(got.guidance_scale, row.high);
    EXPECT_EQ(got.guidance_scale_2, row.low);
    EXPECT_EQ(got.boundary, row.boundary);
    EXPECT_TRUE(got.negative_prompt.starts_with(row.negative)) << got.negative_prompt;
    EXPECT_TRUE(got.negative_prompt.ends_with("倒着走")) << got.negative_prompt;
  }
  Request own =
      parse(Task::T2V, fields(Task::T2V, {{"preset", "reference"}, {"negative_prompt", "fog"}, {"shift", 7}}), kFields);
  EXPECT_EQ(own.negative_prompt, "fog");
  EXPECT_EQ(own.shift, 7);
  // The official code takes an empty text for none.
  EXPECT_NE(
      parse(Task::T2V, fields(Task::T2V, {{"preset", "reference"}, {"negative_prompt", ""}}), kFields).negative_prompt,
      "");
}

TEST(Parse, AVideoEndsAtItsLastPicture) {
  auto said = [](int64_t frames) {
    return message(Task::I2V, {{"last_image_url", "x"}, {"num_frames", frames}, {"unlocked", true}});
  };
  for (int64_t frames : {5, 81}) EXPECT_EQ(said(frames), "");
  EXPECT_EQ(said(80), "[num_frames] must be 4n + 1 where last_image_url is given, got 80; the nearest is 77 or 81");
  EXPECT_EQ(said(1), "[num_frames] must be 4n + 1 where last_image_url is given, got 1; the nearest is 5");
  EXPECT_EQ(message(Task::I2V, {{"num_frames", 80}}), "");
}

TEST(Params, EngineRangesAreWhatTheMathematicsAllows) {
  for (const json& key : {json{{"unlocked", true}}, json{{"preset", "reference"}}}) {
    auto with = [&](const char* name, const json& value) {
      json more = key;
      more[name] = value;
      return errors(Task::T2V, more);
    };
    EXPECT_EQ(with("shift", 0.01), "");
    EXPECT_EQ(with("shift", 0), "shift:greater_than_equal");
    EXPECT_EQ(with("num_inference_steps", 1), "");
    EXPECT_EQ(with("num_inference_steps", 1000), "");
    EXPECT_EQ(with("num_inference_steps", 1001), "num_inference_steps:less_than_equal");
    EXPECT_EQ(with("guidance_scale", 0), "");
    EXPECT_EQ(with("guidance_scale_2", 50), "");
    EXPECT_EQ(with("guidance_scale_2", 50.5), "guidance_scale_2:less_than_equal");
    EXPECT_EQ(with("num_frames", 1), "");
    EXPECT_EQ(with("num_frames", 4093), "");
    EXPECT_EQ(with("num_frames", 4094), "num_frames:less_than_equal");
  }
  EXPECT_EQ(message(Task::T2V, {{"num_frames", "122"}}, kFlags),
            "[num_frames] must be from 17 to 121, got 122; --unlocked allows more");
  EXPECT_EQ(message(Task::T2V, {{"num_frames", 9999}}), "[num_frames] must be from 17 to 121, got 9999");
}

TEST(Params, TypesAreStrictInJsonAndTextInFlags) {
  EXPECT_EQ(parse(Task::T2V, fields(Task::T2V, {{"num_frames", 33.0}}), kFields).num_frames, 33);
  EXPECT_EQ(parse(Task::T2V, fields(Task::T2V, {{"num_frames", "33.0"}}), kFlags).num_frames, 33);
  EXPECT_EQ(parse(Task::T2V, fields(Task::T2V, {{"shift", "2.5"}}), kFlags).shift, 2.5);
  EXPECT_TRUE(parse(Task::T2V, fields(Task::T2V, {{"unlocked", "true"}}), kFlags).unlocked);
  struct Row {
    const char* name;
    json value;
    const char* type;
    const ParseOptions& options;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const Row& row : std::vector<Row>{{"num_frames", "33", "int_type", kFields},
                                         {"num_frames", 33.5, "int_from_float", kFields},
                                         {"num_frames", nan, "int_from_float", kFields},
                                         {"num_frames", true, "int_type", kFields},
                                         {"num_frames", nullptr, "int_type", kFields},
                                         {"num_frames", json::array({33}), "int_type", kFields},
                                         {"num_frames", "33 ", "int_parsing", kFlags},
                                         {"num_frames", "", "int_parsing", kFlags},
                                         {"num_frames", "33x", "int_parsing", kFlags},
                                         {"num_frames", "0x21", "int_parsing", kFlags},
                                         {"num_frames", "99999999999999999999", "int_parsing_size", kFlags},
                                         {"num_frames", 1e300, "int_parsing_size", kFields},
                                         {"shift", infinity, "finite_number", kFields},
                                         {"shift", "inf", "finite_number", kFlags},
                                         {"shift", "nan", "finite_number", kFlags},
                                         {"shift", "5,5", "float_parsing", kFlags},
                                         {"shift", "5", "float_type", kFields},
                                         {"unlocked", "maybe", "bool_parsing", kFlags},
                                         {"unlocked", 1, "bool_type", kFields},
                                         {"prompt", 7, "string_type", kFields},
                                         {"prompt", "\xff\xfe", "string_unicode", kFlags},
                                         {"prompt", "\xed\xa0\x80", "string_unicode", kFlags},
                                         {"prompt", std::string((1 << 20) + 1, 'a'), "string_too_long", kFields},
                                         {"out", "", "string_too_short", kFields},
                                         {"out", std::string("a\0b", 3), "value_error", kFields},
                                         {"solver", "UniPC", "literal_error", kFields},
                                         {"device", "cuda:", "literal_error", kFields},
                                         {"device", "cuda:1x", "literal_error", kFields}})
    EXPECT_EQ(errors(Task::T2V, {{row.name, row.value}}, row.options), std::string(row.name) + ":" + row.type)
        << row.value.type_name();
  EXPECT_EQ(errors(Task::T2V, {{"device", "cuda:1"}}), "");
  EXPECT_EQ(errors(Task::T2V, {{"prompt", std::string(10000, 'a')}}), "");
  EXPECT_EQ(errors(Task::T2V, {{"prompt", ""}}), "");
}

TEST(Params, SeedsAreWhatTorchTakes) {
  auto seed = [](const json& value) { return parse(Task::T2V, fields(Task::T2V, {{"seed", value}}), kFields); };
  for (uint64_t value : {uint64_t(0), uint64_t(INT64_MAX), uint64_t(1) << 63, UINT64_MAX}) {
    EXPECT_EQ(seed(value).seed, value);
    EXPECT_TRUE(seed(value).seed_given);
    EXPECT_EQ(parse(json(to_json(seed(value))), ParseOptions{.need_model = false, .check_files = false}).seed, value);
    const json typed = fields(Task::T2V, {{"seed", std::to_string(value)}});
    EXPECT_EQ(parse(Task::T2V, typed, {.source = Source::Flags, .need_model = false, .check_files = false}).seed,
              value);
  }
  EXPECT_FALSE(seed(-1).seed_given);
  EXPECT_EQ(errors(Task::T2V, {{"seed", "-1"}}, kFlags), "");
  EXPECT_EQ(errors(Task::T2V, {{"seed", -2}}), "seed:greater_than_equal");
  EXPECT_EQ(errors(Task::T2V, {{"seed", 0x1p64}}), "seed:int_parsing_size");
  EXPECT_EQ(errors(Task::T2V, {{"seed", "18446744073709551616"}}, kFlags), "seed:int_parsing_size");
  std::set<uint64_t> drawn;
  for (int i = 0; i < 8; ++i) {
    Request request = seed(nullptr);
    EXPECT_FALSE(request.seed_given);
    EXPECT_LE(request.seed, uint64_t(INT32_MAX));
    drawn.insert(request.seed);
  }
  EXPECT_GT(drawn.size(), 1u);
}

TEST(Params, EverythingWrongIsToldAtOnce) {
  EXPECT_EQ(
      errors(Task::T2V, {{"num_framez", 3}, {"num_frames", 3}, {"shift", "a"}, {"solver", "rk4"}, {"width", 64}}),
      "num_framez:unknown num_frames:greater_than_equal shift:float_type solver:literal_error height:value_error");
  EXPECT_NE(message(Task::T2V, {{"num_framez", 3}}).find("the nearest is num_frames"), std::string::npos);
  EXPECT_EQ(message(Task::T2V, {{"image_url", "a.png"}}), "[image_url] is not a parameter of t2v; of i2v and s2v");
  EXPECT_EQ(errors(Task::I2V, {{"image_url", nullptr}}), "image_url:string_type");
  EXPECT_THROW(parse(Task::T2V, json::array(), kFields), InvalidRequest);
  EXPECT_THROW(parse(Task::T2V, json::object(), kFields), InvalidRequest);            // no prompt
  EXPECT_THROW(parse(Task::T2V, fields(Task::T2V), ParseOptions{}), InvalidRequest);  // no model
}

TEST(Params, MessagesAreOneLineWhateverCame) {
  std::string text = message(Task::T2V, {{"solver", "a\nb\x01" + std::string(5000, 'x')}, {"multi\nline", 1}});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);  // between the two errors
  EXPECT_LT(text.size(), 400u);
  json deep = json::array();
  for (int i = 0; i < 200000; ++i) deep = json::array({std::move(deep)});
  json request = fields(Task::T2V);
  request["solver"] = std::move(deep);
  EXPECT_THROW(parse(Task::T2V, request, kFields), InvalidRequest);
}

TEST(Params, APromptIsExpandedByAServerThatIsNamed) {
  EXPECT_FALSE(parse(Task::T2V, fields(Task::T2V), kFields).enable_prompt_expansion);
  EXPECT_EQ(message(Task::T2V, {{"enable_prompt_expansion", "true"}}, kFlags),
            "[enable_prompt_expansion] needs a language server, got none; --expander-url names one "
            "(docs/prompt-expansion.md)");
  EXPECT_EQ(errors(Task::I2V, {{"enable_prompt_expansion", true}, {"expander_url", "http://h"}}), "");
  for (const ParseOptions& source : {kFields, kFlags}) {
    const Request named = parse(Task::V2V, fields(Task::V2V, {{"expander_url", "http://h:1/v1"}}), source);
    EXPECT_TRUE(named.enable_prompt_expansion) << "the URL turns it on";
    EXPECT_EQ(named.expander_timeout, 120);
    const json off = {{"expander_url", "http://h"}, {"enable_prompt_expansion", false}};
    EXPECT_FALSE(parse(Task::T2V, fields(Task::T2V, off), kFields).enable_prompt_expansion);
  }
  EXPECT_EQ(errors(Task::T2V, {{"expander_model", "m"}}, kFlags), "expander_model:value_error");
  EXPECT_EQ(errors(Task::T2V, {{"expander_url", "http://h"}, {"expander_timeout", 0}}),
            "expander_timeout:greater_than_equal");
  EXPECT_EQ(errors(Task::S2V, {{"enable_prompt_expansion", false}}), "enable_prompt_expansion:unknown");
  EXPECT_EQ(find_parameter("expander_url")->flag(), "--expander-url");
}

TEST(Params, TheUrlOfALanguageServerIsNotPartOfTheMetadata) {
  const json given = {{"expander_url", "http://h"}, {"expander_model", "m"}, {"expander_timeout", 5}};
  const json stored = to_json(parse(Task::T2V, fields(Task::T2V, given), kFields));
  EXPECT_EQ(stored.at("enable_prompt_expansion"), true);
  EXPECT_EQ(stored.at("expander_model"), "m");
  EXPECT_FALSE(stored.contains("expander_url") || stored.contains("expander_timeout"));
  EXPECT_FALSE(json(to_json(parse(Task::T2V, fields(Task::T2V), kFields))).contains("expander_model"))
      << "videos without are as before";
}

TEST(Params, AChatHasOneAddressHoweverItsServerIsNamed) {
  for (const char* url : {"http://h:8080", "http://h:8080/", "http://h:8080/v1", "http://h:8080/v1//",
                          "HTTP://h:8080/v1/chat/completions"})
    EXPECT_EQ(chat_address(url), "http://h:8080/v1/chat/completions") << url;
  EXPECT_EQ(chat_address("https://h/api"), "https://h/api/v1/chat/completions");
  EXPECT_EQ(chat_address("https://h/v1beta/openai/"), "https://h/v1beta/openai/chat/completions");
  EXPECT_EQ(chat_address("http://[::1]:1"), "http://[::1]:1/v1/chat/completions");
  for (const std::string url :
       {"", "h:8080", "ftp://h", "file:///x", "http://", "http:///v1", "http://:80", "http://a:b@h", "http://h?x=1",
        "http://h#x", "http://h/a b", "http://h/\n", "http://h\"", "http://Ã¤"})
    EXPECT_THROW(chat_address(url), InvalidRequest) << url;
  EXPECT_THROW(chat_address("http://h/" + std::string(3000, 'a')), InvalidRequest);
  try {
    chat_address("http://anna:secret@h");
    FAIL();
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(std::string(invalid.what()).find("secret"), std::string::npos) << invalid.what();
  }
}

TEST(Params, ACalibrationNeedsAccelerationRegular) {
  EXPECT_EQ(errors(Task::T2V, {{"acceleration", "regular"}, {"calibration", "c.json"}}), "");
  EXPECT_EQ(errors(Task::T2V, {{"acceleration", "regular"}, {"calibration", "c.json"}}, kFlags), "");
  EXPECT_EQ(errors(Task::T2V, {{"calibration", "c.json"}}, kFlags), "calibration:value_error");
  EXPECT_EQ(message(Task::T2V, {{"calibration", "c.json"}}, kFlags),
            "[calibration] needs --acceleration regular, got 'none'");
  const Request idle = parse(Task::S2V, fields(Task::S2V, {{"calibration", "c.json"}}), kFields);
  EXPECT_EQ(idle.calibration, "") << "a field of many lines, of which some have no acceleration";
  EXPECT_EQ(errors(Task::T2V, {{"acceleration", "regular"}, {"calibration", ""}}), "calibration:string_too_short");
  EXPECT_EQ(errors(Task::T2V, {{"acceleration", "fast"}}), "acceleration:literal_error");
}

TEST(Params, AGuidanceIntervalIsTwoLevels) {
  EXPECT_EQ(parse(Task::T2V, fields(Task::T2V), kFields).guidance_interval, "0:1");
  EXPECT_EQ(errors(Task::S2V, {{"guidance_interval", "0.2:0.9"}}), "");
  for (const char* text : {"", ":", "0.2", "0.2:", ":0.9", "0.9:0.2", "0.5:0.5", "-0.1:0.5", "0:1.1", "nan:1", "0:inf",
                           "0,1", "0:1:1", " 0:1", "a:b"})
    EXPECT_EQ(errors(Task::T2V, {{"guidance_interval", text}}), "guidance_interval:value_error") << text;
  EXPECT_EQ(message(Task::T2V, {{"guidance_interval", "0.9:0.2"}}),
            "[guidance_interval] must be two noise levels from 0 to 1, the lower first, as 0.2:0.9, got '0.9:0.2'");
}

TEST(Params, SigmasReplaceTheSteps) {
  Request request = parse(Task::T2V, fields(Task::T2V, {{"sigmas", "1,0.9375,0.5"}}), kFlags);
  EXPECT_EQ(request.sigmas, (std::vector<double>{1, 0.9375, 0.5}));
  EXPECT_EQ(request.num_inference_steps, 3);
  EXPECT_EQ(parse(Task::T2V, fields(Task::T2V, {{"sigmas", {0.5}}}), kFields).num_inference_steps, 1);
  for (const char* list : {"1,1", "0.5,0.9", "1,0", "1.5,1", "-1"})
    EXPECT_NE(errors(Task::T2V, {{"sigmas", list}}, kFlags), "") << list;
  for (const char* list : {"", "1,", ",1", "1;0.5"})
    EXPECT_EQ(errors(Task::T2V, {{"sigmas", list}}, kFlags), "sigmas:float_parsing") << list;
  EXPECT_EQ(errors(Task::T2V, {{"sigmas", {1, 0.5}}, {"num_inference_steps", 3}}), "num_inference_steps:value_error");
  EXPECT_EQ(errors(Task::T2V, {{"sigmas", {1, "a"}}}), "sigmas:float_type");
  EXPECT_EQ(errors(Task::T2V, {{"sigmas", 1}}), "sigmas:list_type");
}

TEST(Params, SizesFollowFromResolutionAndShape) {
  auto size = [](Task task, const json& more) {
    Request request = parse(task, fields(task, more), kFields);
    return std::pair(request.width, request.height);
  };
  EXPECT_EQ(size(Task::T2V, json::object()), std::pair(int64_t(1280), int64_t(720)));
  EXPECT_EQ(size(Task::T2V, {{"resolution", "480p"}, {"aspect_ratio", "9:16"}}), std::pair(int64_t(480), int64_t(832)));
  EXPECT_EQ(size(Task::I2V, json::object()), std::pair(int64_t(0), int64_t(0)));
  EXPECT_EQ(size(Task::S2V, json::object()), std::pair(int64_t(0), int64_t(0)));
  EXPECT_EQ(size(Task::I2V, {{"width", 64}, {"height", 48}}), std::pair(int64_t(64), int64_t(48)));
  EXPECT_EQ(errors(Task::T2V, {{"width", 64}}), "height:value_error");
  EXPECT_EQ(errors(Task::T2V, {{"height", 64}}), "width:value_error");
  EXPECT_EQ(errors(Task::T2V, {{"width", 72}, {"height", 64}}), "width:multiple_of");
  EXPECT_EQ(errors(Task::S2V, {{"width", 80}, {"height", 64}}), "width:multiple_of");
  EXPECT_EQ(errors(Task::T2V, {{"width", 0}, {"height", 0}}), "width:greater_than_equal height:greater_than_equal");
}

TEST(Params, JsonAndBackIsTheSameRequest) {
  for (Task task : kTasks) {
    for (const json& more :
         {json::object(), json{{"preset", "reference"}}, json{{"sigmas", {0.75}}}, json{{"num_frames", 48}},
          json{{"width", 128}, {"height", 64}, {"prompt", "a \"quoted\"\n line \u00e9"}},
          json{{"unlocked", true}, {"shift", 0.1}, {"seed", INT64_MAX}}}) {
      Request request = parse(task, fields(task, more), kFields);
      const std::string stored = to_json(request).dump();
      Request back = parse(json::parse(stored), kFields);
      EXPECT_EQ(to_json(back).dump(), stored);
      EXPECT_EQ(back.task, request.task);
      EXPECT_EQ(back.seed, request.seed);
      EXPECT_EQ(back.shift, request.shift);
      EXPECT_EQ(back.sigmas, request.sigmas);
      EXPECT_EQ(back.width, request.width);
      EXPECT_EQ(back.num_frames, request.num_frames);
      EXPECT_EQ(stored.find("\"out\""), std::string::npos);
      if (find_parameter("num_frames")->accepts(task)->from_input) {
        EXPECT_EQ(back.num_frames_given, request.num_frames_given);
      }
    }
  }
  EXPECT_THROW(parse(json{{"prompt", "x"}}, kFields), InvalidRequest);
  EXPECT_THROW(parse(json{{"prompt", "x"}, {"task", "t2i"}}, kFields), InvalidRequest);
  EXPECT_THROW(parse(json{{"prompt", "x"}, {"task", 1}}, kFields), InvalidRequest);
}

TEST(Params, EveryParameterIsStored) {
  for (Task task : kTasks) {
    json more = {{"sigmas", {0.5}},
                 {"num_frames", task == Task::S2V ? 80 : 81},
                 {"width", 64},
                 {"height", 64},
                 {"model", "m"},
                 {"skip_softmax", 0.5},
                 {"acceleration", "regular"},
                 {"calibration", "c"},
                 {"interpolator_model", "film"}};
    for (const char* name : {"last_image_url", "pose_video_url", "high_noise", "low_noise", "transformer",
                             "text_encoder", "vae", "audio_encoder", "tokenizer", "interpolator"})
      if (find_parameter(name)->accepts(task)) more[name] = "f";
    if (find_parameter("expander_url")->accepts(task)) more["expander_url"] = "http://h", more["expander_model"] = "m";
    more["safety_checker"] = "f";
    more["safety_threshold"] = 0.5;
    more["loras"] = {{{"path", "l"}}};
    json stored = to_json(parse(task, fields(task, more), kFields));
    for (const Parameter& parameter : parameters())
      EXPECT_EQ(stored.contains(parameter.name), parameter.accepts(task) && parameter.stored) << parameter.name;
  }
}

TEST(Params, ALoraIsReadFromTheRight) {
  const auto read = [](const std::string& text) {
    return parse(Task::T2V, fields(Task::T2V, {{"loras", json::array({text})}}), kFlags).loras.at(0);
  };
  EXPECT_EQ(read("a.safetensors"), (Lora{"a.safetensors", {1}, ""}));
  EXPECT_EQ(read("a.safetensors:0.5"), (Lora{"a.safetensors", {0.5}, ""}));
  EXPECT_EQ(read("a.safetensors@low"), (Lora{"a.safetensors", {1}, "low"}));
  EXPECT_EQ(read("dir:x/a@b:1,0,-0.5@both"), (Lora{"dir:x/a@b", {1, 0, -0.5}, "both"}));
  EXPECT_EQ(read("a:1:2"), (Lora{"a:1", {2}, ""}));
  EXPECT_EQ(read("a@medium"), (Lora{"a@medium", {1}, ""})) << "no such expert: part of the name";
  EXPECT_EQ(read("a:x"), (Lora{"a:x", {1}, ""}));
}

TEST(Params, LorasComeAsObjectsAndGoBack) {
  const json list = {{{"path", "a"}, {"scale", {1, 0.5}}, {"transformer", "high"}}, {{"path", "b"}, {"scale", 2}}};
  const Request request = parse(Task::T2V, fields(Task::T2V, {{"loras", list}}), kFields);
  EXPECT_EQ(request.loras, (std::vector<Lora>{{"a", {1, 0.5}, "high"}, {"b", {2}, ""}}));
  EXPECT_EQ(json(to_json(request))["loras"], list);
  EXPECT_EQ(parse(json(to_json(request)), kFields).loras, request.loras);
  for (const json& wrong :
       {json("a"), json{{"path", "a"}}, json::array({"a"}), json::array({{{"scale", 1}}}),
        json::array({{{"path", ""}}}), json::array({{{"path", "a"}, {"scale", 1000}}}),
        json::array({{{"path", "a"}, {"scale", json::array()}}}),
        json::array({{{"path", "a"}, {"transformer", "third"}}}), json::array({{{"path", "a"}, {"weight", 1}}})})
    EXPECT_THROW(parse(Task::T2V, fields(Task::T2V, {{"loras", wrong}}), kFields), InvalidRequest) << wrong;
}

TEST(Params, TheTableIsWellFormed) {
  std::set<std::string> names, flags;
  for (const Parameter& parameter : parameters()) {
    SCOPED_TRACE(parameter.name);
    EXPECT_TRUE(names.insert(parameter.name).second);
    EXPECT_TRUE(flags.insert(parameter.flag()).second);
    EXPECT_NE(std::string(parameter.group), "");
    EXPECT_NE(std::string(parameter.help), "");
    EXPECT_FALSE(parameter.tasks.empty());
    for (const auto& [task, accepts] : parameter.tasks) {
      const bool boolean = std::holds_alternative<bool Request::*>(parameter.field);
      EXPECT_TRUE(boolean || !accepts.words.empty() || *parameter.metavar) << "nothing stands for the value in --help";
      if (!accepts.words.empty()) {
        EXPECT_EQ(std::count(accepts.words.begin(), accepts.words.end(), accepts.value.get<std::string>()), 1);
      }
    }
  }
  EXPECT_EQ(find_parameter("image_url")->flag(), "--image");
  EXPECT_EQ(find_parameter("guidance_scale_2")->flag(), "--guidance-scale-2");
}

TEST(Params, TheNearestNameIsWhatWasMeant) {
  const std::vector<std::string> names = {"seed", "num_frames", "num_inference_steps", "shift", "guidance_scale"};
  for (auto [word, meant] : {std::pair("sede", "seed"),
                             {"steps", "num_inference_steps"},
                             {"guidance", "guidance_scale"},
                             {"numframes", "num_frames"},
                             {"shfit", "shift"}})
    EXPECT_EQ(nearest(word, names), meant);
  EXPECT_EQ(nearest("x", {}), "");
  EXPECT_EQ(nearest(std::string(1 << 20, 'x'), names), "");
  EXPECT_EQ(nearest("contact_sheet", names), "") << "none is near";
  EXPECT_EQ(nearest("--fps", {"--help", "--frames-per-second"}), "--frames-per-second");
}

TEST(Params, RenderedFramesAreTheNextTheModelCanMake) {
  Request request;
  for (auto [asked, rendered] : {std::pair(1, 1), {2, 5}, {17, 17}, {18, 21}, {81, 81}, {82, 85}, {121, 121}}) {
    request.num_frames = asked;
    EXPECT_EQ(request.rendered_frames(), rendered);
  }
  request.task = Task::S2V;
  for (auto [asked, rendered] : {std::pair(1, 4), {4, 4}, {79, 80}, {80, 80}}) {
    request.num_frames = asked;
    EXPECT_EQ(request.rendered_frames(), rendered);
  }
}

}  // namespace
}  // namespace wan
