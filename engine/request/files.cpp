#include "engine/request/files.h"

#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/params.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

// 255, less what is put behind it beside the output: ".latents.safetensors." with a process's number and ".part".
constexpr size_t kLongestName = 220;

/// Letters of either case.
bool begins(const std::string& text, const std::string& scheme) {
  return strncasecmp(text.c_str(), scheme.c_str(), scheme.size()) == 0;
}

/// "; its folder 'clips' is not there either"; empty where the folder of `path` is there.
std::string missing_folder(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  std::error_code ignored;
  if (folder.empty() || fs::exists(folder, ignored)) return "";
  return "; its folder " + shown_missing(folder.string()) + " is not there either";
}

/// "ftp" of "ftp://host/x"; empty where the text is no URL.
std::string scheme_of(const std::string& text) {
  const size_t end = text.find("://");
  const bool letters = end != std::string::npos && end > 0 &&
                       std::all_of(text.begin(), text.begin() + std::ptrdiff_t(end),
                                   [](unsigned char c) { return std::isalnum(c) || c == '+' || c == '.' || c == '-'; });
  return letters ? text.substr(0, end) : "";
}

}  // namespace

bool is_url(const std::string& text) {
  return begins(text, "http://") || begins(text, "https://") || begins(text, "data:");
}

std::string plain_url(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n\f\v";
  const size_t begin = std::min(text.find_first_not_of(kSpace), text.size());
  std::string url = text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
  if (!is_url(url)) return text;
  for (size_t i = 0; url[i] != ':'; ++i) url[i] = char(std::tolower(static_cast<unsigned char>(url[i])));
  return url;
}

void refuse_file_url(const std::string& field, const std::string& path) {
  if (!begins(path, "file://")) return;
  const bool encoded = path.find('%') != std::string::npos;
  throw InvalidRequest(field, "must be a path, got the URL " + shown_path(path) +
                                  "; give the path alone, which stands behind file://" +
                                  (encoded ? ", its letters as they are and not as %XX" : ""));
}

std::string shown_missing(const std::string& path) {
  const fs::path whole(path);
  std::error_code ignored;
  if (!whole.is_absolute()) return shown_path(path);
  fs::path there = whole.parent_path();
  while (there.has_relative_path() && !fs::exists(there, ignored)) there = there.parent_path();
  if (!there.has_relative_path()) return shown(path, 200);
  return shown((there.filename() / whole.lexically_relative(there)).string(), 200);
}

std::string from_folder(const std::string& folder, const std::string& path) {
  return folder.empty() || fs::path(path).is_absolute() ? path : (fs::path(folder) / path).string();
}

bool is_bare_name(const std::string& folder, const std::string& text) {
  std::error_code ignored;
  return text.find('/') == std::string::npos && text != "." && text != ".." &&
         !fs::exists(fs::symlink_status(from_folder(folder, text), ignored));
}

void check_readable(const std::string& field, const std::string& path) {
  refuse_file_url(field, path);
  std::error_code error;
  fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found && is_url(path))
    throw InvalidRequest(field, "must be a file, got the URL " + shown_path(path) + "; download it and give the file");
  const Parameter* const parameter = find_parameter(field);
  const std::string must = parameter && parameter->media ? "must be a file or an http(s) URL, " : "must be a file, ";
  if (status.type() == fs::file_type::not_found && !scheme_of(path).empty())
    throw InvalidRequest(field, must + "got the URL " + shown_path(path) + "; download it and give the file");
  if (error == std::errc::filename_too_long)
    throw InvalidRequest(field,
                         "must be a path or a URL, got " + std::to_string(path.size()) +
                             " letters that are neither; base64 stands in a data URL: data:image/png;base64,...");
  if (status.type() == fs::file_type::not_found)
    throw InvalidRequest(field, must + "and there is no file " + shown_missing(path) + missing_folder(path));
  if (fs::is_directory(status)) throw InvalidRequest(field, "must be a file, got the folder " + shown_path(path));
  if (faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0)
    throw InvalidRequest(field, "cannot be read: " + shown_path(path) + ": " + std::strerror(errno) +
                                    "; give yourself the right to read it (chmod u+rX)");
}

void check_writable(const std::string& field, const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) throw InvalidRequest(field, "must be a file, got the folder " + shown_path(path));
  // The finished file takes the name by a rename, which would put it in place of /dev/null itself.
  if (fs::exists(status) && !fs::is_regular_file(status))
    throw InvalidRequest(field, "must be a regular file, got a device or pipe: " + shown_path(path));
  if (const size_t bytes = fs::path(path).filename().string().size(); bytes > kLongestName)
    throw InvalidRequest(field, "must have a name of at most " + std::to_string(kLongestName) + " bytes, got " +
                                    std::to_string(bytes) + ": " + shown_path(path));
  fs::path folder = fs::path(path).parent_path();
  if (folder.empty()) folder = ".";
  if (!fs::is_directory(folder, error))
    throw InvalidRequest(field, "must lie in a folder that exists, got " + shown_missing(path) + "; make " +
                                    shown_missing(folder.string()) + " first");
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    throw InvalidRequest(field, "cannot be written: " + shown_path(folder.string()) + ": " + std::strerror(errno));
}

void check_ending(const std::string& field, const std::string& path, const std::vector<std::string>& endings) {
  std::string ending = fs::path(path).extension().string();
  for (char& letter : ending) letter = char(std::tolower(static_cast<unsigned char>(letter)));
  if (std::find(endings.begin(), endings.end(), ending) != endings.end()) return;
  throw InvalidRequest(field, "must end in " + either(endings) + ", got " + shown_path(path));
}

void check_other_file(const std::string& field, const std::string& path, const std::string& other_field,
                      const std::string& other) {
  std::error_code error;
  const fs::path mine = fs::weakly_canonical(path, error), theirs = fs::weakly_canonical(other, error);
  if ((!mine.empty() && mine == theirs) || fs::equivalent(path, other, error))
    throw InvalidRequest(field, "must be another file than " + other_field + ", got " + shown_path(path));
}

}  // namespace wan
