// From the body of a request to typed values, or to the vendor's list of what is wrong: all fields at once, as pydantic
// (lax mode) judges and words it, since the hosted servers answer with its messages.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "engine/serve/api/endpoints.h"

namespace wan::serve {

/// A list of entries {"type", "loc", "msg", "input", "ctx"?}.
using ErrorList = nlohmann::ordered_json;

/// One entry. `field` empty: the whole body. `ctx` null: none. Long texts within `input` are cut.
void add_error(ErrorList& errors, const std::string& field, const char* type, const std::string& msg,
               const nlohmann::json& input, const nlohmann::ordered_json& ctx = nullptr);

/// What any body may be: depth and number of values are bounded, so that nothing deep or wide is built.
nlohmann::json read_body_json(std::string_view text, ErrorList& errors);

/// The values of the endpoint's fields that were sent, by the vendor's names: texts, whole numbers, numbers, booleans,
/// within their ranges. Unknown fields are left out, and so is null for a field that takes it. What is wrong is added
/// to `errors` in the order of the endpoint's fields.
nlohmann::json check_body(const Endpoint& endpoint, const nlohmann::json& body, ErrorList& errors);

/// "image: Field required; audio: Field required": the list as WaveSpeed's message and as logs have it. Names are those of
/// `endpoint`, whichever vendor's the entries have.
std::string error_text(const Endpoint& endpoint, const ErrorList& errors);

}  // namespace wan::serve
