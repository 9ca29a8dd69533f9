// What the hosted endpoints, and a server that speaks as they do, take of a request: fewer fields than a local run.
#pragma once

#include <string>

#include "engine/request/params.h"

namespace wan {

/// The path of the task's endpoint without a slash in front: "fal-ai/wan/v2.2-a14b/text-to-video".
const char* hosted_path(Task task);

/// Whether the task's endpoint has a field of this name.
bool is_hosted(const Parameter& parameter, Task task);

/// Why a request to a server has no such field or flag, and the way out: "is for local runs: the server has models of its
/// own; leave it out". `name` is a parameter's, or that of a flag without its dashes. It need not be known.
std::string local_only_text(const std::string& name);

}  // namespace wan
