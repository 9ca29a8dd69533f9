// What can be wrong with the files of a model.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace wan {

/// A model folder or one of its files is absent, incomplete, hostile or another than asked. `subject` is the file, and
/// the tensor in it where there is one; of an absolute path only the last names are kept (shown_name). The text is one
/// line: `[subject] what is wanted, what came; the way out`.
struct ModelError : std::runtime_error {
  ModelError(const std::string& subject, const std::string& what);
  std::string subject;
};

/// A path as messages, logs and files may say it: a relative one as it was typed, of an absolute one the last component.
/// `with_folder` adds the folder around it where at least three folders lie above the file, which tells the shards of
/// two experts apart and never names a home folder.
std::string shown_name(std::string_view path, bool with_folder = false);

/// A string out of a file, fit to stand in a one-line message: all but printable ASCII as \xNN, cut after 120 bytes.
std::string printable(std::string_view text);

}  // namespace wan
