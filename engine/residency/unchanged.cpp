#include "engine/residency/unchanged.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <optional>

#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kWayOut =
    "; with the old file in its place the same command goes on from what was saved, with this one it begins anew";

/// Nothing where no file is there.
std::optional<FileStamp> stamp_at(const fs::path& path) {
  struct stat state;
  if (stat(path.c_str(), &state) != 0) return std::nullopt;
  return stamp_of(state);
}

/// "2026-01-31 12:00:00.123 UTC".
std::string moment(int64_t nanoseconds) {
  constexpr int64_t kSecond = 1'000'000'000, kMillisecond = 1'000'000;
  const auto seconds = time_t(nanoseconds / kSecond);
  tm parts;
  char text[64];
  if (!gmtime_r(&seconds, &parts) || std::strftime(text, sizeof text, "%F %T", &parts) == 0) return "?";
  char fraction[8];
  std::snprintf(fraction, sizeof fraction, ".%03d", int(nanoseconds % kSecond / kMillisecond));
  return std::string(text) + fraction + " UTC";
}

std::string described(const FileStamp& state) {
  return std::to_string(state.size) + " bytes, written " + moment(state.modified);
}

[[noreturn]] void refuse(const fs::path& path, const std::string& what) {
  throw ModelError(path.string(), "must stay as it was when the run began, " + what + kWayOut);
}

/// Whether the content may be another: all but a change of the entry alone.
bool is_other_content(const FileStamp& was, const FileStamp& is) {
  return was.inode != is.inode || was.size != is.size || was.modified != is.modified;
}

void check_file(const fs::path& path, const SeenFile& seen) {
  const std::optional<FileStamp> now = stamp_at(path);
  if (!now) refuse(path, "had " + described(seen.stamp) + ", and is gone");
  if (*now == seen.stamp) return;
  if (is_other_content(seen.stamp, *now))
    refuse(path, "had " + described(seen.stamp) + ", has " + described(*now) +
                     (now->inode != seen.stamp.inode ? ": another file under the same name" : ""));
  IdentityCache none;
  const std::string digest = identify({{path, path.filename().string(), seen.part, ""}}, none).at(0).digest;
  if (digest != seen.digest)
    refuse(path, "had the digest " + seen.digest + ", has " + digest + " with the same size and time");
}

}  // namespace

void remember(ModelParts& parts, const std::vector<FileIdentity>& files) {
  parts.seen.clear();
  for (const PartFile& file : parts.files()) {
    const auto is_it = [&](const FileIdentity& identity) { return identity.name == file.name; };
    const auto found = std::find_if(files.begin(), files.end(), is_it);
    if (found != files.end()) parts.seen[file.path] = {file.part, found->digest, found->stamp};
  }
}

void remember(ModelParts& parts, const std::vector<PartFile>& files, const std::vector<FileIdentity>& identities) {
  parts.seen.clear();
  for (size_t i = 0; i < files.size(); ++i)
    parts.seen[files[i].path] = {files[i].part, identities.at(i).digest, identities[i].stamp};
}

void check_unchanged(const ModelParts& parts, const std::string& field) {
  if (parts.seen.empty()) return;
  for (const auto& [path, seen] : parts.seen)
    if (seen.part == field) check_file(path, seen);
  for (const PartFile& file : parts.files_of(field))
    if (!parts.seen.contains(file.path)) refuse(file.path, "was not there then");
}

void check_not_rewritten(const ModelParts& parts) {
  for (const auto& [path, seen] : parts.seen) {
    const std::optional<FileStamp> now = stamp_at(path);
    if (now && now->device == seen.stamp.device && now->inode == seen.stamp.inode && is_other_content(seen.stamp, *now))
      check_file(path, seen);
  }
}

}  // namespace wan
