// How long ago things happened, told without trust in a clock that somebody may set.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>

#include "engine/serve/queue/clocks.h"

namespace wan::serve {

/// Ages of what happens in this process are exact. What is older has a stamp of the wall clock, and its age is right as
/// far as that clock was. Where the clock was set, ages are in doubt for a day; then the clock is believed.
class AgeClock {
 public:
  /// `file` keeps the time of the last pass for the next process.
  AgeClock(Clocks clocks, std::filesystem::path file);

  /// Now, in ms since 1970: does not jump where the clock is set.
  int64_t now() const;
  /// Something that has a name happens now, or is gone.
  void note(const std::string& name) { noted_[name] = clocks_.boot(); }
  void forget(const std::string& name) { noted_.erase(name); }
  /// How many milliseconds ago it happened: since note(), else since its stamp.
  int64_t age(const std::string& name, int64_t stamp) const;

  /// Why ages cannot be trusted now; empty where they can.
  std::string doubt();
  /// A pass without doubt took place. Blocks.
  void keep_time() const;

 private:
  const Clocks clocks_;
  const std::filesystem::path file_;
  int64_t begun_wall_, begun_boot_;
  int64_t held_until_ = 0;  // of the boot clock
  std::string held_because_;
  struct Jump {
    int64_t by = 0;     // wall clock less now(), ms
    int64_t since = 0;  // of the boot clock
  };
  std::optional<Jump> jump_;
  std::unordered_map<std::string, int64_t> noted_;  // of the boot clock
};

}  // namespace wan::serve
