// The endpoints and their description against the hosted APIs' facts (parameters.json), field for field.
#include "engine/serve/api/endpoints.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <set>

#include "engine/serve/api/openapi.h"

namespace wan::serve {
namespace {

using nlohmann::json;

const json& facts() {
  static const json all = json::parse(std::ifstream(WAN_SOURCE_DIR "/tests/serve/parameters.json"));
  return all;
}

const char* type_name(EndpointField::Kind kind) {
  constexpr const char* kNames[] = {"string", "integer", "number", "boolean"};
  return kNames[int(kind)];
}

/// The endpoint's own fields, and those that its clients send beside the pages.
json inputs_of(const json& endpoint) {
  json inputs = endpoint.at("inputs");
  for (const json& extra : endpoint.value("request_extras", json::array())) inputs.push_back(extra);
  return inputs;
}

TEST(Endpoints, HaveTheFactsFields) {
  ASSERT_EQ(endpoints().size(), facts().at("endpoints").size());
  for (const auto& [path, known] : facts().at("endpoints").items()) {
    SCOPED_TRACE(path);
    const Endpoint* endpoint = find_endpoint(path);
    ASSERT_NE(endpoint, nullptr);
    EXPECT_EQ(endpoint->path, path);
    EXPECT_EQ(endpoint->vendor == Vendor::Fal ? "fal" : "wavespeed", known.at("provider").get<std::string>());
    const json inputs = inputs_of(known);
    ASSERT_EQ(endpoint->fields.size(), inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const json& input = inputs[i];
      const EndpointField& field = endpoint->fields[i];
      SCOPED_TRACE(field.name);
      EXPECT_EQ(field.name, input.at("name"));
      EXPECT_EQ(type_name(field.kind), input.at("type"));
      EXPECT_EQ(field.required, input.at("required"));
      EXPECT_EQ(field.nullable, input.value("nullable", false));
      if (!field.required) {
        EXPECT_EQ(field.value, input.at("default"));
      }
      EXPECT_EQ(field.has_least() ? json(field.range.least) : json(), input.value("min", json()));
      EXPECT_EQ(field.has_most() ? json(field.range.most) : json(), input.value("max", json()));
      EXPECT_EQ(field.range.step, input.value("step", 1));
      EXPECT_EQ(json(field.words), input.value("enum", json::array()));
      EXPECT_EQ(field.media, input.value("media", ""));
      EXPECT_FALSE(field.help.empty());
    }
    bool tells_seed = false;
    for (const json& output : known.at("outputs")) tells_seed = tells_seed || output.at("name") == "seed";
    EXPECT_EQ(endpoint->tells_seed, tells_seed);
  }
}

// Fields that the server itself answers, without a render.
const std::set<std::string> kServersOwn = {"enable_sync_mode"};

// Each parameter of the five pages does something: it is a value of a request that this build obeys, or the server's
// own.
TEST(Endpoints, EveryParameterOfThePagesHasItsFunction) {
  std::set<std::string> without;
  int64_t read = 0;
  for (const auto& [path, known] : facts().at("endpoints").items()) {
    const Endpoint* const endpoint = find_endpoint(path);
    ASSERT_NE(endpoint, nullptr) << path;
    for (const json& input : inputs_of(known)) {
      ++read;
      const std::string name = input.at("name");
      const EndpointField* const field = endpoint->field(name);
      if (field && !field->parameter && kServersOwn.contains(name)) continue;
      const bool works =
          field && field->parameter && field->parameter->accepts(endpoint->task) && !field->parameter->unserved;
      if (!works) without.insert(name + " of " + path);
    }
  }
  EXPECT_GT(read, 70) << "the pages have been read";
  std::string names;
  for (const std::string& name : without) names += "\n  " + name;
  EXPECT_TRUE(without.empty()) << "without a function:" << names;
}

TEST(Endpoints, AreFoundInLettersOfEitherCase) {
  for (const auto& [path, known] : facts().at("endpoints").items()) {
    if (known.contains("path_as_written_in_seed")) {
      EXPECT_EQ(find_endpoint(known["path_as_written_in_seed"].get<std::string>().substr(1)), find_endpoint(path));
    }
  }
  EXPECT_EQ(find_endpoint("fal-ai/wan/v2.2-a14b"), nullptr);
  EXPECT_EQ(find_endpoint(""), nullptr);
}

TEST(OpenApi, DescribesTheFactsFields) {
  const json description = json::parse(openapi(true).dump());
  EXPECT_EQ(description.at("openapi"), "3.1.0");
  for (const auto& [path, known] : facts().at("endpoints").items()) {
    SCOPED_TRACE(path);
    const std::string route = known.value("sync_path", known.value("submit_path", ""));
    const json& operation = description.at("paths").at(route).at("post");
    const std::string ref = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    const json& schema = description.at(json::json_pointer(ref.substr(1)));
    json required = json::array();
    for (const json& input : inputs_of(known)) {
      const std::string name = input.at("name");
      SCOPED_TRACE(name);
      if (input.at("required").get<bool>()) required.push_back(name);
      const json& property = schema.at("properties").at(name);
      const json type = input.at("type");
      EXPECT_EQ(property.at("type"), input.value("nullable", false) ? json({type, "null"}) : type);
      EXPECT_EQ(property.value("minimum", json()), input.value("min", json()));
      EXPECT_EQ(property.value("maximum", json()), input.value("max", json()));
      EXPECT_EQ(property.value("multipleOf", json()), input.value("step", json()));
      EXPECT_EQ(property.value("enum", json()), input.value("enum", json()));
      if (!input.at("required").get<bool>()) {
        EXPECT_EQ(property.at("default"), input.at("default"));
      }
    }
    EXPECT_EQ(schema.value("required", json::array()), required);
    // Beside the fields of the table: where WaveSpeed's clients may name a webhook.
    EXPECT_EQ(schema.at("properties").size(),
              inputs_of(known).size() + schema.at("properties").contains("webhook_url"));
  }
}

/// Every "$ref" and what it is in.
void each_ref(const json& at, const std::function<void(const std::string&)>& use) {
  if (at.is_object() && at.contains("$ref")) use(at["$ref"]);
  if (at.is_structured())
    for (const json& item : at) each_ref(item, use);
}

TEST(OpenApi, IsWhole) {
  const json description = json::parse(openapi(true).dump());
  each_ref(description, [&](const std::string& ref) {
    EXPECT_TRUE(description.contains(json::json_pointer(ref.substr(1)))) << ref;
  });
  std::set<std::string> ids;
  for (const auto& [path, methods] : description.at("paths").items())
    for (const auto& [method, operation] : methods.items()) {
      SCOPED_TRACE(method + " " + path);
      EXPECT_TRUE(ids.insert(operation.at("operationId")).second);
      for (const char* status : {"400", "401", "404", "405", "413", "429", "431", "500", "503"})
        EXPECT_TRUE(operation.at("responses").contains(status)) << status;
      for (const auto& [status, response] : operation["responses"].items())
        EXPECT_TRUE(response.at("description").is_string()) << status;
      EXPECT_TRUE(operation.value("tags", json()).is_array());
      for (const json& parameter : operation.value("parameters", json::array())) {
        EXPECT_TRUE(parameter.contains("name") && parameter.contains("in") && parameter.contains("schema"));
        if (parameter["in"] == "path") {
          EXPECT_NE(path.find("{" + parameter["name"].get<std::string>() + "}"), std::string::npos);
        }
      }
    }
  EXPECT_TRUE(description["paths"]["/queue/fal-ai/wan/requests/{id}/status"]["get"]["responses"].contains("202"));
  EXPECT_TRUE(description["paths"]["/fal-ai/wan/v2.2-a14b/text-to-video"]["post"]["responses"].contains("422"));
  EXPECT_TRUE(description["components"]["securitySchemes"].contains("bearer"));
}

/// The names of the query's parameters of a call.
std::set<std::string> query_of(const json& operation) {
  std::set<std::string> names;
  for (const json& parameter : operation.value("parameters", json::array()))
    if (parameter.at("in") == "query") names.insert(parameter.at("name"));
  return names;
}

TEST(OpenApi, NamesTheWebhooksOfAllSubmits) {
  const json description = json::parse(openapi(true).dump());
  const json &paths = description.at("paths"), &schemas = description.at("components").at("schemas");
  int submits = 0;
  for (const Endpoint& endpoint : endpoints()) {
    SCOPED_TRACE(endpoint.path);
    const bool is_fal = endpoint.vendor == Vendor::Fal;
    for (const std::string& path : is_fal ? std::vector{"/" + endpoint.path, "/queue/" + endpoint.path}
                                          : std::vector{"/api/v3/" + endpoint.path}) {
      const json& submit = paths.at(path).at("post");
      EXPECT_TRUE(query_of(submit).contains(is_fal ? "fal_webhook" : "webhook")) << path;
      const std::string ref = submit["requestBody"]["content"]["application/json"]["schema"]["$ref"];
      const json& body = description.at(json::json_pointer(ref.substr(1)));
      EXPECT_EQ(body.at("properties").contains("webhook_url"), !is_fal) << path;
      ++submits;
    }
  }
  EXPECT_EQ(submits, 9);
  EXPECT_EQ(schemas.at("WaveSpeeds2vInput").at("properties").at("webhook_url").at("type"), json({"string", "null"}));
}

TEST(OpenApi, SaysWhetherKeysAreWanted) {
  EXPECT_EQ(openapi(true).at("security").size(), 2u);
  EXPECT_EQ(openapi(false).at("security").back(), nlohmann::ordered_json::object());
}

}  // namespace
}  // namespace wan::serve
