// What a request names as its picture, sound or video: what may be named, and where it lies.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/serve/api/context.h"
#include "engine/serve/api/endpoints.h"
#include "engine/serve/api/validate.h"

namespace wan::serve {

/// Of URLs by which the server names its own files to itself: a host that is nobody's (RFC 6761).
inline constexpr const char* kOwnHost = "http://wan-serve.invalid";

/// An input that is not fetched from elsewhere.
struct OwnInput {
  enum Kind { Upload, Output, Data } kind = Upload;
  std::string name;            // of the file on this server
  std::filesystem::path path;  // where it lies; of Data not yet
  /// It is not removed before this goes: until then the job is there, which needs it from then on.
  std::shared_ptr<FilesInUse::Claim> claim;
};

/// By the fields' names.
using OwnInputs = std::map<std::string, OwnInput>;

/// Looks at the inputs among `values` (those of check_body()). http(s) URLs stay as they are, in plain form; uploads
/// and videos of this server and data URLs become own inputs, for which `values` gets a path. Whatever else is named,
/// files that are not there and those of others are errors. Nothing is written yet.
Awaitable<OwnInputs> find_inputs(ApiContext& context, const Exchange& exchange, const Endpoint& endpoint,
                                 const Caller& caller, nlohmann::json& values, ErrorList& errors);

/// Makes uploads of what is none yet: data URLs of `body` (a copy of a video of this server for one of its own), so
/// that they stay as long as the job needs them, and go with it, or with `inputs` where there is no job. `fields`
/// (job_fields()) gets the paths, `input` the URLs' paths.
Awaitable<void> keep_inputs(ApiContext& context, const Endpoint& endpoint, const Caller& caller,
                            const OwnInputs& inputs, const nlohmann::json& body, nlohmann::json& fields,
                            nlohmann::json& input, ErrorList& errors);

}  // namespace wan::serve
