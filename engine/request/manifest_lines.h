// The objects of a manifest's text and where they stand: JSON lines, or one JSON array.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/request/error.h"

namespace wan {

struct ManifestLine {
  int64_t number = 0;     // where the object begins, from 1
  nlohmann::json fields;  // an object, at most 8 deep
};

/// An error about a line: its field reads "line 3, num_frames", or "line 3" where `field` is empty.
FieldError at_line(int64_t line, FieldError error);

/// One object a line, or an array of objects laid out in any way. Blank lines and lines that begin with # or // are
/// skipped in both; a byte order mark and CRLF are no matter. What is wrong is added to `errors`, the rest returned;
/// it gives up once there are kMostErrors.
std::vector<ManifestLine> manifest_lines(std::string text, std::vector<FieldError>& errors);

inline constexpr size_t kMostErrors = 1000;

}  // namespace wan
