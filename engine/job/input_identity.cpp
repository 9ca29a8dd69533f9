#include "engine/job/input_identity.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/params.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kDigest = "data:,";
constexpr size_t kDigestLetters = 6 + 64;

}  // namespace

InputContents::Moment InputContents::moment_of(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) throw std::system_error(errno, std::generic_category());
  const auto nanoseconds = [](const timespec& time) { return int64_t(time.tv_sec) * 1'000'000'000 + time.tv_nsec; };
  return {status.st_dev, status.st_ino, uint64_t(status.st_size), nanoseconds(status.st_mtim),
          nanoseconds(status.st_ctim)};
}

const FileContent& InputContents::of(const std::string& path) {
  const Moment now = moment_of(path);
  auto& [moment, content] = known_[path];
  if (content.sha256.empty() || !(moment == now)) {
    content = content_of_file(path);
    moment = now;
  }
  return content;
}

InputIdentities identify_inputs(const Request& asked, const std::map<std::string, std::string>& local) {
  InputContents contents;
  return identify_inputs(asked, local, contents);
}

InputIdentities identify_inputs(const Request& asked, const std::map<std::string, std::string>& local,
                                InputContents& contents) {
  InputIdentities identities;
  for (const Parameter& parameter : parameters()) {
    if (!parameter.is_told_by_content()) continue;
    const std::string& input = asked.*std::get<std::string Request::*>(parameter.field);
    const auto copy = local.find(parameter.name);
    if (input.empty() || (copy == local.end() && is_url(input))) continue;
    try {
      const FileContent& content = contents.of(copy == local.end() ? input : copy->second);
      identities[parameter.name] = {stored_name(input), content.size, content.sha256};
    } catch (const std::system_error& error) {
      const std::string name = is_url(input) ? shown_url(input) : shown_path(input);
      throw InvalidRequest(parameter.name, "cannot be read: " + name + ": " + error.code().message());
    }
  }
  return identities;
}

InputIdentities identify_inputs(const Request& asked, const Request& fetched) {
  std::map<std::string, std::string> local;
  for (const Parameter& parameter : parameters())
    if (parameter.media) local[parameter.name] = fetched.*std::get<std::string Request::*>(parameter.field);
  return identify_inputs(asked, local);
}

std::string stored_name(const std::string& input) {
  if (input.starts_with("data:"))
    return input.starts_with(kDigest) && input.size() == kDigestLetters ? input : kDigest + sha256({input});
  return is_url(input) ? public_url(input) : fs::path(input).filename().string();
}

std::string stored_folder(const std::string& folder) {
  if (folder.empty()) return folder;
  const fs::path path = fs::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace wan
