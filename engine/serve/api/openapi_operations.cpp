#include "engine/serve/api/openapi_operations.h"

#include <map>

namespace wan::serve::description {
namespace {

/// The error of a call's vendor; before the call is known, errors have fal's form.
Json error_of(const Operation& of) {
  if (of.wavespeed) return any_of({schema_ref("WaveSpeedError"), schema_ref("Error")});
  return of.openai ? any_of({schema_ref("OpenAiError"), schema_ref("Error")}) : schema_ref("Error");
}

/// What any call may be answered. `form`: the vendor's error.
void put_errors(Json& responses, const Json& form) {
  static const std::map<int, const char*> kErrors = {
      {400, "The request is not understood"},
      {401, "No key, or an unknown one"},
      {403, "Not allowed: another origin, a quota, a signature"},
      {404, "There is no such thing"},
      {405, "Another method is wanted; Allow tells which"},
      {408, "The request came too slowly"},
      {413, "The body is too large"},
      {417, "Expect is not understood"},
      {429, "Too many requests or jobs; Retry-After tells how long to wait"},
      {431, "The head of the request is too large"},
      {500, "An error of the server"},
      {501, "The request's form is not offered"},
      {503, "Not now: the disk is full, or the server is ending"},
      {505, "Another version of HTTP is wanted"}};
  for (const auto& [status, text] : kErrors)
    if (!responses.contains(std::to_string(status))) responses[std::to_string(status)] = response(text, form);
}

}  // namespace

Json operation(Operation of) {
  put_errors(of.responses, error_of(of));
  Json result = {{"operationId", of.id}, {"summary", of.summary}};
  if (*of.tag) result["tags"] = {of.tag};
  if (!of.parameters.empty()) result["parameters"] = of.parameters;
  // A file may be empty, and then no body comes.
  const bool is_file = of.body.contains("application/octet-stream");
  if (!of.body.is_null()) result["requestBody"] = {{"required", !is_file}, {"content", of.body}};
  result["responses"] = of.responses;
  if (of.open) result["security"] = Json::array();
  return result;
}

Json in_path(const char* name, const Json& schema) {
  return {{"name", name}, {"in", "path"}, {"required", true}, {"schema", schema}};
}

Json in_query(const char* name, const Json& schema, const std::string& description) {
  return {{"name", name}, {"in", "query"}, {"required", false}, {"schema", schema}, {"description", description}};
}

Json in_header(const char* name, const Json& schema, const std::string& description) {
  return {{"name", name}, {"in", "header"}, {"required", false}, {"schema", schema}, {"description", description}};
}

Json field_errors() {
  return response("Fields of the request, or what they name, are wrong", schema_ref("FieldErrors"));
}

Json any_body() {
  return {{"application/octet-stream", Json::object()}};
}

}  // namespace wan::serve::description
