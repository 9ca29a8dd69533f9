// A manifest: the requests of a batch, one JSON object a line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

struct ManifestJob {
  int64_t line = 0;  // where its request begins, from 1
  std::string name;  // of its output, for people: the path from the manifest's folder, or the last component alone
  Request request;   // its own `out`, its own seed
  std::vector<std::string> given = {};  // by_server: the fields that the line has, the seed among them
};

struct ManifestOptions {
  nlohmann::json defaults = nlohmann::json::object();  // flags for what a line lacks: names to texts
  uint64_t draw = 0;       // the seeds of lines without one follow from it: equal numbers draw equal seeds
  bool by_server = false;  // as in ParseOptions (parse.h)
};

/// Reads a manifest: the endpoints' fields and `task`, `out`, `model` in each object; relative paths start at the
/// manifest's folder. `seeds` (a list) or `repeat` (how often; counts up from `seed`, or draws) make several jobs of
/// one line, written to NAME-SEED.mp4. A drawn seed depends on its line's values and not on its neighbours.
/// Throws one InvalidRequest with all errors of all lines ("line 3, num_frames"), outputs that two jobs share and
/// outputs that are another's input among them; a manifest is at most 256 MiB, 100,000 jobs, and 512 MiB
/// of text in all of these.
std::vector<ManifestJob> read_manifest(const std::string& path, const ManifestOptions& options);

}  // namespace wan
