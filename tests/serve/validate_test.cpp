// Bodies of requests against what pydantic says of them (validation_cases.json, by make_validation_cases.py).
#include "engine/serve/api/validate.h"

#include <gtest/gtest.h>

#include <fstream>

namespace wan::serve {
namespace {

using nlohmann::json;

json data_file(const char* name) {
  std::ifstream file(std::string(WAN_SOURCE_DIR) + "/tests/serve/" + name);
  return json::parse(file);
}

const Endpoint& endpoint(const char* path) {
  const Endpoint* found = find_endpoint(path);
  if (!found) throw std::runtime_error(std::string("no endpoint ") + path);
  return *found;
}

const char* const kSpeech = "fal-ai/wan/v2.2-14b/speech-to-video";
const char* const kText = "fal-ai/wan/v2.2-a14b/text-to-video";

ErrorList errors_of(const char* path, const json& body) {
  ErrorList errors = ErrorList::array();
  check_body(endpoint(path), body, errors);
  return errors;
}

TEST(Validate, SaysWhatPydanticSays) {
  const json cases = data_file("validation_cases.json");
  ASSERT_GT(cases.size(), 100u);
  for (const json& known : cases) {
    SCOPED_TRACE(known.dump());
    ErrorList errors = ErrorList::array();
    json body = read_body_json(known.at("body").get<std::string>(), errors);
    ASSERT_TRUE(errors.empty()) << errors.dump();
    body["image_url"] = body["audio_url"] = "http://host/x";
    const std::string field = known.at("field");
    const json values = check_body(endpoint(kSpeech), body, errors);
    if (known.contains("value")) {
      EXPECT_TRUE(errors.empty()) << errors.dump();
      EXPECT_EQ(values.value(field, json()), known["value"]);
      continue;
    }
    ASSERT_EQ(errors.size(), 1u) << errors.dump();
    json entry = json::parse(errors[0].dump());
    EXPECT_EQ(entry["loc"], json({"body", field}));
    EXPECT_EQ(entry["input"], body[field]);
    entry.erase("loc");
    entry.erase("input");
    EXPECT_EQ(entry, known["error"]);
  }
}

TEST(Validate, NamesAllFieldsInTheirOrder) {
  const json body = {{"num_frames", 5}, {"shift", "x"}, {"resolution", "1080p"}, {"unknown", 1}};
  const ErrorList errors = errors_of(kText, body);
  ASSERT_EQ(errors.size(), 4u);
  EXPECT_EQ(
      errors[0].dump(),
      ErrorList({{"type", "missing"}, {"loc", {"body", "prompt"}}, {"msg", "Field required"}, {"input", body}}).dump());
  EXPECT_EQ(errors[1]["loc"][1], "num_frames");
  EXPECT_EQ(errors[1]["ctx"], ErrorList({{"ge", 17}}));
  EXPECT_EQ(errors[2]["loc"][1], "resolution");
  EXPECT_EQ(errors[3]["type"], "float_parsing");
}

TEST(Validate, TakesAnEmptyPromptAndNullForSeedAlone) {
  EXPECT_TRUE(errors_of(kText, {{"prompt", ""}, {"seed", nullptr}}).empty());
  EXPECT_EQ(errors_of(kText, {{"prompt", nullptr}})[0]["type"], "string_type");
  EXPECT_EQ(errors_of(kText, {{"prompt", ""}, {"resolution", nullptr}})[0]["type"], "literal_error");
}

TEST(Validate, LeavesUnknownFieldsOut) {
  ErrorList errors = ErrorList::array();
  const json values = check_body(endpoint(kText), {{"prompt", "a"}, {"device", "cuda"}, {"model", "/etc"}}, errors);
  EXPECT_TRUE(errors.empty());
  EXPECT_EQ(values, json({{"prompt", "a"}}));
}

TEST(Validate, RefusesWhatIsNoJsonObject) {
  const auto read = [](std::string_view text) {
    ErrorList errors = ErrorList::array();
    const json body = read_body_json(text, errors);
    if (errors.empty()) check_body(endpoint(kText), body, errors);
    EXPECT_EQ(errors.size(), 1u) << text;
    return errors.at(0);
  };
  EXPECT_EQ(read("")["type"], "missing");
  EXPECT_EQ(read("")["loc"], ErrorList({"body"}));
  EXPECT_EQ(read("{\"prompt\" 1}")["type"], "json_invalid");
  EXPECT_EQ(read("{\"prompt\" 1}")["loc"], ErrorList({"body", 10}));
  EXPECT_EQ(read("{\"prompt\": NaN}")["type"], "json_invalid");
  EXPECT_EQ(read("\xFF")["type"], "json_invalid");
  for (const char* text : {"[]", "1", "\"x\"", "null"}) EXPECT_EQ(read(text)["type"], "model_attributes_type") << text;
}

TEST(Validate, RefusesNestedAndWideBodies) {
  for (const std::string& text : {std::string(100 << 20, '['), "{\"prompt\":" + std::string(1 << 20, '[') + "}",
                                  "[" + std::string(100'000, '1').replace(1, 0, ",")}) {
    ErrorList errors = ErrorList::array();
    read_body_json(text, errors);
    ASSERT_EQ(errors.size(), 1u);
    EXPECT_EQ(errors[0]["type"], "json_invalid");
    EXPECT_EQ(errors[0]["input"], ErrorList::object());
  }
  std::string wide = "[1";
  for (int i = 0; i < 20'000; ++i) wide += ",1";
  ErrorList errors = ErrorList::array();
  read_body_json(wide + "]", errors);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_NE(errors[0]["ctx"]["error"].get<std::string>().find("values"), std::string::npos);
}

TEST(Validate, CutsLongTextsOfWhatCame) {
  const json body = {{"image_url", "data:" + std::string(5 << 20, 'A')}};
  const ErrorList errors = errors_of("fal-ai/wan/v2.2-a14b/image-to-video", body);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0]["type"], "missing");
  const std::string shown = errors[0]["input"]["image_url"];
  EXPECT_LT(shown.size(), 1100u);
  EXPECT_TRUE(shown.starts_with("data:AAAA"));
}

TEST(Validate, GivesWaveSpeedItsNames) {
  const char* const path = "wavespeed-ai/wan-2.2/speech-to-video";
  const ErrorList errors = errors_of(path, {{"seed", -2}, {"resolution", "580p"}});
  EXPECT_EQ(error_text(endpoint(path), errors),
            "image: Field required; audio: Field required; resolution: Input should be '480p' or '720p'; "
            "seed: Input should be greater than or equal to -1");
  const ErrorList engine = ErrorList::array({{{"loc", {"body", "image_url"}}, {"msg", "is broken"}}});
  EXPECT_EQ(error_text(endpoint(path), engine), "image: is broken");
}

}  // namespace
}  // namespace wan::serve
