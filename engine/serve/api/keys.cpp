#include "engine/serve/api/keys.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/serve/queue/ids.h"
#include "models/files/atomic_file.h"
#include "models/files/digest.h"
#include "models/files/error.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostBytes = 1 << 20, kLongestName = 64;
constexpr double kMostQuota = 1e15;

[[noreturn]] void refuse(const std::string& wrong) {
  throw InvalidRequest("keys", wrong);
}

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= kLongestName &&
         name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == name.npos;
}

bool is_hash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

/// The content of the file. `absent_is_empty`: of one that is not there, nothing.
std::string content(const fs::path& file, bool absent_is_empty) {
  struct stat status = {};
  if (stat(file.c_str(), &status) != 0) {
    if (errno == ENOENT && absent_is_empty) return {};
    refuse("must be a file that can be read, got " + shown_path(file) + ": " + std::strerror(errno) +
           "; wan-serve key add NAME --keys FILE makes one");
  }
  if (!S_ISREG(status.st_mode)) refuse("must be a file, got " + shown_path(file) + ", which is none");
  if (status.st_mode & S_IWOTH)
    refuse("must be a file that others cannot write, got " + shown_path(file) + "; chmod o-w FILE");
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    const int error = errno;
    const char* way_out =
        error == EACCES ? "; chown it to the user who runs the server, key add then leaves it so" : "";
    refuse("must be a file that can be read, got " + shown_path(file) + ": " + std::strerror(error) + way_out);
  }
  std::string text(kMostBytes + 1, '\0');
  in.read(text.data(), std::streamsize(text.size()));
  text.resize(size_t(in.gcount()));
  if (text.size() > kMostBytes) refuse("must be a file of at most 1 MiB, got a larger one: " + shown_path(file));
  return text;
}

/// A number of a quota, from 0.
double amount(const std::string& where, const nlohmann::json& value, bool whole) {
  const double number = value.is_number() ? value.get<double>() : -1;
  if (!(number >= 0) || number > kMostQuota || (whole && number != std::floor(number)))
    refuse(where + " must be a " + (whole ? "whole " : "") + "number from 0, got " + shown(value));
  return number;
}

Quota read_quota(const std::string& where, const nlohmann::json& json) {
  if (!json.is_object()) refuse(where + " must be an object, got " + shown(json));
  Quota quota;
  for (const auto& [name, value] : json.items()) {
    if (name == "queued_jobs")
      quota.queued_jobs = int64_t(amount(where + "'s queued_jobs", value, true));
    else if (name == "upload_bytes")
      quota.upload_bytes = uint64_t(amount(where + "'s upload_bytes", value, true));
    else if (name == "video_seconds")
      quota.video_seconds = amount(where + "'s video_seconds", value, false);
    else
      refuse(where + " has " + shown(name) + "; it takes queued_jobs, upload_bytes and video_seconds");
  }
  return quota;
}

Key read_key(size_t number, const nlohmann::json& json) {
  std::string where = "key " + std::to_string(number);
  if (!json.is_object()) refuse(where + " must be an object, got " + shown(json));
  Key key;
  const auto text = [&](const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : ""; };
  for (const auto& [name, value] : json.items()) {
    if (name == "name") {
      key.name = text(value);
      if (!is_name(key.name))
        refuse("the name of " + where + " must be 1 to 64 of A-Z a-z 0-9 . _ -, got " + shown(value));
    } else if (name == "sha256") {
      key.hash = text(value);
      // What stands there is not quoted: it may be a key that was put in place of its hash.
      if (!is_hash(key.hash)) refuse("sha256 of " + where + " must be 64 lower-case hexadecimal digits");
    } else if (name == "role") {
      if (text(value) != "admin")
        refuse("role of " + where + " must be \"admin\", or be left out, got " + shown(value));
      key.admin = true;
    } else if (name == "quota") {
      key.quota = read_quota("quota of " + where, value);
    } else {
      refuse(where + " has " + shown(name) + "; it takes name, sha256, role and quota");
    }
  }
  if (key.name.empty() || key.hash.empty()) refuse(where + " must have name and sha256");
  return key;
}

std::vector<Key> parse_keys(const std::string& text) {
  nlohmann::json json;
  try {
    json = parse_json(text, {.bytes = kMostBytes, .depth = 4, .unique_names = true});
  } catch (const BrokenJson& broken) {
    refuse(std::string("the file ") + broken.what());
  }
  if (!json.is_object() || json.size() != 1 || !json.contains("keys") || !json["keys"].is_array())
    refuse("the file must be a JSON object {\"keys\": [...]}; wan-serve key add NAME --keys FILE makes one");
  std::vector<Key> keys;
  std::set<std::string> names, hashes;
  for (const nlohmann::json& entry : json["keys"]) {
    keys.push_back(read_key(keys.size() + 1, entry));
    if (!names.insert(keys.back().name).second) refuse("two keys have the name " + shown(keys.back().name));
    if (!hashes.insert(keys.back().hash).second)
      refuse("two names have the same key: the second is " + shown(keys.back().name));
  }
  return keys;
}

/// Of the file's text; what is wrong in it names the file.
std::vector<Key> keys_in(const fs::path& file, const std::string& text) {
  if (text.find_first_not_of(" \t\r\n") == text.npos)
    refuse("must be a file of keys, got " + shown_path(file) +
           ", which is empty; wan-serve key add NAME --keys FILE adds one");
  try {
    return parse_keys(text);
  } catch (const InvalidRequest& invalid) {
    refuse("must be a file of keys, got " + shown_path(file) + ": " + invalid.errors.front().wrong);
  }
}

void write_keys(const fs::path& named, const std::vector<Key>& keys) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Key& key : keys) {
    nlohmann::ordered_json entry = {{"name", key.name}, {"sha256", key.hash}};
    if (key.admin) entry["role"] = "admin";
    nlohmann::ordered_json quota = nlohmann::ordered_json::object();
    if (key.quota.queued_jobs > 0) quota["queued_jobs"] = key.quota.queued_jobs;
    if (key.quota.upload_bytes > 0) quota["upload_bytes"] = key.quota.upload_bytes;
    if (key.quota.video_seconds > 0) quota["video_seconds"] = key.quota.video_seconds;
    if (!quota.empty()) entry["quota"] = quota;
    list.push_back(entry);
  }
  const std::string text = nlohmann::ordered_json{{"keys", list}}.dump(2) + "\n";
  std::error_code ignored;
  const fs::path whole = fs::weakly_canonical(named, ignored), file = ignored ? named : whole;  // not over a link
  struct stat before = {};
  const bool is_there = stat(file.c_str(), &before) == 0;
  try {
    AtomicFile out(file.string());
    // The file keeps its owner: root adds keys for a server that runs as another user.
    if (chmod(out.part().c_str(), is_there ? before.st_mode & 0777 : 0600) != 0 ||
        (is_there && (before.st_uid != geteuid() || before.st_gid != getegid()) &&
         chown(out.part().c_str(), before.st_uid, before.st_gid) != 0))
      throw std::runtime_error(std::strerror(errno));
    out.write(text.data(), text.size());
    out.commit();
  } catch (const std::runtime_error& error) {
    refuse("must be a file that can be written, got " + shown_path(named) + ": " + error.what());
  }
}

/// Keeps others from changing the file of keys while one reads, changes and writes it. A file that is absent is made,
/// empty, where it may be.
class KeysLock {
 public:
  KeysLock(const fs::path& named, bool may_make) {
    const int make = may_make ? O_CREAT : 0;
    for (;;) {
      file_ = open(named.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | make, 0600);
      if (file_ < 0) file_ = open(named.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
      if (file_ < 0) return;  // who reads it says why
      if (flock(file_, LOCK_EX) != 0) {
        const int error = errno;
        close(std::exchange(file_, -1));
        refuse("must be a file that can be locked, got " + shown_path(named) + ": " + std::strerror(error));
      }
      // Who had the lock before has put another file in its place.
      struct stat locked = {}, there = {};
      if (fstat(file_, &locked) == 0 && stat(named.c_str(), &there) == 0 && locked.st_ino == there.st_ino &&
          locked.st_dev == there.st_dev)
        return;
      close(std::exchange(file_, -1));
      if (!may_make && stat(named.c_str(), &there) != 0) return;
    }
  }
  ~KeysLock() {
    if (file_ >= 0) close(file_);
  }
  KeysLock(const KeysLock&) = delete;
  KeysLock& operator=(const KeysLock&) = delete;

 private:
  int file_ = -1;
};

/// 256 random bits in letters that a header, a URL and a shell take as they are.
std::string draw_key() {
  return "wan_" + random_hex(32);
}

}  // namespace

std::vector<Key> list_keys(const std::filesystem::path& file) {
  return keys_in(file, content(file, false));
}

std::vector<Key> read_keys(const std::filesystem::path& file) {
  std::vector<Key> keys = list_keys(file);
  if (keys.empty())
    refuse("must be a file with at least one key, got " + shown_path(file) +
           " with none; wan-serve key add NAME --keys "
           "FILE adds one, and without --keys the server asks for none");
  return keys;
}

std::string add_key(const std::filesystem::path& file, const std::string& name, bool admin, const Quota& quota) {
  if (!is_name(name)) throw InvalidRequest("name", "must be 1 to 64 of A-Z a-z 0-9 . _ -, got " + shown(name));
  const fs::path folder = file.parent_path();
  if (std::error_code ignored; !folder.empty() && !fs::is_directory(folder, ignored))
    refuse("must lie in a folder that is there; install -d -m 0755 " + shown(folder.string(), 200) + " makes it");
  const KeysLock lock(file, /*may_make=*/true);
  const std::string text = content(file, true);
  const bool is_empty = text.find_first_not_of(" \t\r\n") == text.npos;
  std::vector<Key> keys = is_empty ? std::vector<Key>() : keys_in(file, text);
  if (std::any_of(keys.begin(), keys.end(), [&](const Key& key) { return key.name == name; }))
    throw InvalidRequest("name", "must be one that no key has yet, got " + shown(name) +
                                     "; wan-serve key remove NAME --keys FILE takes that key out");
  const std::string drawn = draw_key();
  keys.push_back({name, sha256({drawn}), admin, quota});
  write_keys(file, keys);
  return drawn;
}

void remove_key(const std::filesystem::path& file, const std::string& name) {
  const KeysLock lock(file, /*may_make=*/false);
  std::vector<Key> keys = list_keys(file);
  if (std::erase_if(keys, [&](const Key& key) { return key.name == name; }) == 0) {
    std::vector<std::string> names;
    for (const Key& key : keys) names.push_back(key.name);
    throw InvalidRequest("name", "must be the name of a key in the file, got " + shown(name) +
                                     (names.empty() ? "; it holds none" : "; it has " + either(names, " and ")));
  }
  write_keys(file, keys);
}

}  // namespace wan::serve
