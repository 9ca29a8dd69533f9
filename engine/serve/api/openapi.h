// The description of the API, made from the table of endpoints: OpenAPI 3.1.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/serve/api/endpoints.h"

namespace wan::serve {

/// `wants_keys`: whether calls without a key are refused.
nlohmann::ordered_json openapi(bool wants_keys);

/// The JSON schema of an endpoint's body.
nlohmann::ordered_json input_schema(const Endpoint& endpoint);

}  // namespace wan::serve
