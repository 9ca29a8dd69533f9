// The file of keys: who may call, by name, and what each may use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace wan::serve {

/// What a key may use; 0: no limit.
struct Quota {
  int64_t queued_jobs = 0;    // that wait or run at once
  uint64_t upload_bytes = 0;  // that lie on the server at once
  double video_seconds = 0;   // asked for within 24 hours
};

struct Key {
  std::string name;
  std::string hash;  // SHA-256 of the key, hexadecimal
  bool admin = false;
  Quota quota;
};

/// The keys of a file: a JSON object {"keys": [{"name", "sha256", "role"?: "admin", "quota"?: {"queued_jobs"?,
/// "upload_bytes"?, "video_seconds"?}}]}. Throws InvalidRequest naming "keys" and what is wrong: also where there is no
/// key in it (a server would let everybody in), and where others than its owner and group may write it.
std::vector<Key> read_keys(const std::filesystem::path& file);

/// The same for `key list`, of a file that may hold no key.
std::vector<Key> list_keys(const std::filesystem::path& file);

/// Adds a key drawn at random to the file, which is made (0600) where it is absent, and returns its text: nobody can
/// read it again. Two that do so at once wait for each other. Throws InvalidRequest where the name is taken or not of
/// [A-Za-z0-9._-]{1,64}.
std::string add_key(const std::filesystem::path& file, const std::string& name, bool admin, const Quota& quota);

/// Takes a key out of the file. Throws InvalidRequest where it has none of that name.
void remove_key(const std::filesystem::path& file, const std::string& name);

}  // namespace wan::serve
