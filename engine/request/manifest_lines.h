// The objects of a manifest's text and where they stand: JSON lines, or one JSON array.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/request/error.h"

namespace wan {

struct ManifestLine {
  int64_t number = 0;     // where the object begins, from 1
  nlohmann::json fields;  // an object, at most 8 deep
};

/// What is wrong, by the line that it is wrong in.
using LineErrors = std::multimap<int64_t, FieldError>;
inline constexpr size_t kMostErrors = 1000;

/// One object a line, or an array of objects laid out in any way. Blank lines and lines that begin with # or // are
/// skipped in both; a byte order mark and CRLF are no matter. What is wrong is added to `errors`, the rest returned;
/// it gives up once there are kMostErrors.
std::vector<ManifestLine> manifest_lines(std::string text, LineErrors& errors);

}  // namespace wan
