// What can be wrong with the files of a model.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// A model folder or one of its files is absent, incomplete, hostile or another than asked. `subject` is the file, and
/// the tensor in it where there is one; of an absolute path only the last names are kept (shown_name). what() is one
/// line: `[subject] what is wanted, what came; the way out`. A subject may hold "] ": take the two from the members.
struct ModelError : std::runtime_error {
  ModelError(const std::string& subject, const std::string& text);
  std::string subject, text;

 protected:
  ModelError(const std::string& lines, const ModelError& first);
};

/// Several of them, found at once: what() has a line for each; subject and text are those of the first.
struct ModelErrors : ModelError {
  /// `list` is not empty, and none in it is a ModelErrors.
  explicit ModelErrors(std::vector<ModelError> list);
  std::vector<ModelError> list;
};

/// Text that others chose, fit to stand on one line of a message: control characters, invisible ones and broken UTF-8
/// escaped; of more than `most` bytes the middle is left out.
std::string shown_text(std::string_view text, size_t most = 200);

/// A path as messages and logs may say it: a relative one as it was typed, of an absolute one the last component, both
/// as shown_text. `with_folder` adds the folder around it where at least three folders lie above the file, which tells
/// the shards of two experts apart and never names a home folder.
std::string shown_name(std::string_view path, bool with_folder = false);

/// A string out of a file, fit to stand in a one-line message: all but printable ASCII as \xNN, cut after 120 bytes.
std::string printable(std::string_view text);

}  // namespace wan
