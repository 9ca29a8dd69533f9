// The calls of the API's description: what each is made of, and each subject's calls.
#pragma once

#include <string>

#include "engine/serve/api/openapi_schemas.h"

namespace wan::serve::description {

struct Operation {
  const char* id;
  std::string summary;
  Json responses;
  Json parameters = Json::array();
  Json body = nullptr;  // content
  bool wavespeed = false;
  bool openai = false;
  bool open = false;  // needs no key
  const char* tag = "";
};

/// With the answers that any call may have.
Json operation(Operation of);

// Parameters.
Json in_path(const char* name, const Json& schema = {{"type", "string"}});
Json in_query(const char* name, const Json& schema, const std::string& description);
Json in_header(const char* name, const Json& schema, const std::string& description);

/// 422 with the list of fields.
Json field_errors();
/// The content of a request that is a file.
Json any_body();

// These add the calls of a subject.
/// Submits and sync runs of all endpoints; the queue's requests and WaveSpeed's tasks.
void put_job_calls(Json& paths);
/// Uploads of both vendors' clients, and files.
void put_file_calls(Json& paths);
/// OpenAI's video calls, and those of the load generator.
void put_openai_calls(Json& paths);

}  // namespace wan::serve::description
