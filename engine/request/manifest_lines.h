// The objects of a manifest's text and where they stand: JSON lines, or one JSON array.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/base/error.h"

namespace wan {

struct ManifestLine {
  int64_t number = 0;     // where the object begins, from 1
  nlohmann::json fields;  // an object, at most 8 deep
};

/// What is wrong, in the order of the lines that it is wrong in: the first kMost of all that were added.
class LineErrors {
 public:
  static constexpr size_t kMost = 1000;

  void add(int64_t line, const FieldError& error);
  bool empty() const { return errors_.empty(); }
  /// Whether an error in this line would be dropped.
  bool full_before(int64_t line) const;
  /// The fields read "line 3, num_frames".
  std::vector<FieldError> list() const;

 private:
  std::multimap<int64_t, FieldError> errors_;
};

/// One object a line, or an array of objects laid out in any way. Blank lines and lines that begin with # or // are
/// skipped in both; an object over several lines outside of an array is one error; a byte order mark and CRLF are no matter. What is wrong is added to `errors`, the rest returned.
/// An object is at most 48 MiB long, for pictures as data URLs, and all together hold at most 4,000,000 values.
std::vector<ManifestLine> manifest_lines(std::string text, LineErrors& errors);

}  // namespace wan
