// The schemas of the API's description, and what descriptions are made of.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/serve/api/endpoints.h"

namespace wan::serve::description {

using Json = nlohmann::ordered_json;

Json schema_ref(const std::string& name);
Json json_content(const Json& schema);
/// A response with JSON.
Json response(const std::string& text, const Json& schema);
Json any_of(const std::vector<Json>& schemas);
Json text(const std::string& description = "");
Json object(const std::vector<const char*>& required, Json properties);
/// One of these texts.
Json words(const std::vector<std::string>& choices);

/// "Falt2vInput": the name of an endpoint's schema among schemas().
std::string schema_name(const Endpoint& endpoint, const char* what);
/// All of them, by their names.
Json schemas();
/// Adds those of OpenAI's calls.
void put_openai_schemas(Json& all);

}  // namespace wan::serve::description
