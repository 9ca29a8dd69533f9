// The bodies of OpenAI's video calls: JSON, or a form that may hold files.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/serve/api/body_budget.h"
#include "engine/serve/api/context.h"
#include "engine/serve/api/validate.h"

namespace wan::serve {

struct VideoBody {
  nlohmann::json json = nullptr;  // of a form an object of texts; files have become URLs of this server
  bool is_form = false;
  /// Of the files that came with it. They go with these, unless a job has them.
  std::vector<std::shared_ptr<FilesInUse::Claim>> claims = {};
};

/// Reads the body and keeps its files as uploads of the caller, which count for its quota. "a[b]" of a form is the
/// member b of an object a, as the `openai` packages write it. What is no JSON or no form is added to `errors`. Throws
/// HttpError: too large, no room for a file.
Awaitable<VideoBody> read_video_body(ApiContext& context, Exchange& exchange, const Caller& caller, ErrorList& errors,
                                     BodyBudget::Share& share);

/// The URL under which requests of this server find a file of `folder`, uploads or outputs.
std::string own_url(const char* folder, const std::string& file);

}  // namespace wan::serve
