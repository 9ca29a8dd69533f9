// Runs a built program as a user does, and looks at what it says while it works.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace wan {

struct Outcome {
  int code = -1;         // exit code; 128 and the signal where one ended it
  std::string out, err;  // both streams, whole
  int64_t peak_rss = 0;  // bytes
};

/// What the machine refuses the program; 0: nothing.
struct Limits {
  int64_t file_bytes = 0;  // size of a file it may write, as on a full disk
};

/// One program in a folder of its own choice, started at construction. The destructor ends it.
class Process {
 public:
  /// `name` is a program of the build's tools folder, started in `folder`.
  Process(const std::string& name, const std::vector<std::string>& words, const std::filesystem::path& folder,
          const Limits& limits = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// Waits until stderr holds `text`; false where the program ended before it did, or a minute passed.
  bool wait_for(const std::string& text);
  void signal(int number);
  /// Waits for the end.
  Outcome finish();

 private:
  bool ended();
  pid_t child_ = -1;
  bool reaped_ = false;
  std::filesystem::path out_, err_;
  Outcome outcome_;
};

/// A file's bytes; empty where it is absent.
std::string content(const std::filesystem::path& path);

}  // namespace wan
