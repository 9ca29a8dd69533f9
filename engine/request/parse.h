// From named values to a Request with every default filled in and every range checked; and back, for metadata.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/base/error.h"
#include "engine/request/request.h"

namespace wan {

/// Where the values come from: flags are text throughout, fields (manifest, metadata) have JSON's types.
enum class Source { Fields, Flags };

struct ParseOptions {
  Source source = Source::Fields;
  std::string folder = {};    // where relative paths start; empty: the current folder
  bool need_model = true;     // --dry-run does without
  bool check_files = true;    // inputs exist, the output can be written
  bool by_server = false;     // a server renders it: fields of its endpoint alone, in its ranges (hosted.h); a model is
                              // not asked for, and what this build lacks may be there
  bool need_expander = true;  // false: what a prompt was expanded to is known, or does not matter
};

/// `fields` maps the endpoints' names to values; unknown names are errors. A seed is drawn where none is given, a size
/// follows from resolution and aspect_ratio, and `out` defaults to TASK-SEED.mp4 in `folder`.
/// Throws InvalidRequest with everything that is wrong.
Request parse(Task task, const nlohmann::json& fields, const ParseOptions& options = {});

/// The same with the task taken from the field "task", as manifests and metadata have it.
Request parse(const nlohmann::json& fields, const ParseOptions& options = {});

/// "task" and every parameter that the task takes, except `out`; what is unset (no last image, a length that follows
/// the input) is absent. `parse` of it gives an equal request, with seed_given set.
nlohmann::ordered_json to_json(const Request& request);

}  // namespace wan
