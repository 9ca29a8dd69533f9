// What can be wrong with the files of a model.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace wan {

/// A model folder or one of its files is absent, incomplete, hostile or another than asked. `subject` is the file, and
/// the tensor in it where there is one. The text is one line: `[subject] what is wanted, what came; the way out`.
struct ModelError : std::runtime_error {
  ModelError(std::string subject, const std::string& what)
      : std::runtime_error("[" + subject + "] " + what), subject(std::move(subject)) {}
  std::string subject;
};

/// A string out of a file, fit to stand in a one-line message: all but printable ASCII as \xNN, cut after 120 bytes.
std::string printable(std::string_view text);

}  // namespace wan
