// The kinds of failure that a caller can act on. Everything else is a bug or the machine's (disk full, out of memory).
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace wan {

/// One bad field of a request.
struct FieldError {
  std::string field;  // as the table spells it: num_frames; or the argument: --foo
  std::string
      wrong;  // what is wanted, what came, the way out: "must be from 17 to 121, got 122; --unlocked allows more"
  std::string type;    // machine-readable kind, e.g. "greater_than_equal", "missing", "unknown"
  std::string limits;  // "17..121", "film|rife|none" or empty
  std::string input;   // what came, as text
  std::string line() const { return "[" + field + "] " + wrong; }
};

/// Everything that is wrong with a request, all at once. Exit code 2.
struct InvalidRequest : std::runtime_error {
  explicit InvalidRequest(std::vector<FieldError> errors);
  InvalidRequest(std::string field, std::string wrong) : InvalidRequest({{field, wrong, "value_error", "", ""}}) {}
  std::vector<FieldError> errors;
};

/// Files are others than those that a video was made from: a line for each, as the user reads it. Exit code 3.
struct OtherFiles : std::runtime_error {
  explicit OtherFiles(std::vector<std::string> list);
  std::vector<std::string> lines;
};

/// The user stopped it. An answer, not a failure. Exit code 130. The text says what is kept and how to go on.
struct Cancelled : std::runtime_error {
  explicit Cancelled(const std::string& kept = "nothing is kept") : std::runtime_error(kept) {}
};

/// The user took one job of several back: that job ends, the others go on.
struct Withdrawn : std::runtime_error {
  Withdrawn() : std::runtime_error("taken back by the user") {}
};

}  // namespace wan
