// Paths of a request: what they are relative to, and whether they can be read or written before hours of work begin.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wan {

/// The largest file of sound or video that is read: hours of any camera's. What is decoded is bounded by itself.
constexpr int64_t kMostMediaBytes = int64_t(16) << 30;

/// http:// and https:// in any case, or data:. Everything else is a path, other schemes too.
bool is_url(const std::string& text);

/// A URL without white space around it and with its scheme in lower case, as all that handle it expect it; anything else
/// as it is.
std::string plain_url(const std::string& text);

/// `path`, or where it is relative and `folder` is not empty, folder/path.
std::string from_folder(const std::string& folder, const std::string& path);

/// A path that does not exist, in quotes: a relative one as it was typed, of an absolute one what lies below the last
/// folder that is there, with that folder's name; nothing above, which may name a user.
std::string shown_missing(const std::string& path);

/// Throws InvalidRequest where a file:// URL stands in place of a path.
void refuse_file_url(const std::string& field, const std::string& path);

/// Whether `text` can only be a name: it has no slash, and in `folder` (empty: the current one) nothing is called so.
bool is_bare_name(const std::string& folder, const std::string& text);

/// Throws InvalidRequest unless `path` is a file that can be read.
void check_readable(const std::string& field, const std::string& path);

/// Throws InvalidRequest unless a file can be made at `path`: its folder exists and is writable, what lies there is a
/// regular file or nothing, and its name leaves room for what is written beside it.
void check_writable(const std::string& field, const std::string& path);

/// Throws InvalidRequest unless the path ends in one of these, in letters of either case.
void check_ending(const std::string& field, const std::string& path, const std::vector<std::string>& endings);

/// Throws InvalidRequest that names both fields where the paths lead to one file.
void check_other_file(const std::string& field, const std::string& path, const std::string& other_field,
                      const std::string& other);

}  // namespace wan
