// One of several parts of a manifest, as a flag names it. Which jobs belong to it: division.h.
#pragma once

#include <cstdint>
#include <string>

namespace wan {

/// One of `count` parts, counted from 0. A count of 0: the manifest as a whole.
struct Shard {
  int64_t index = 0, count = 0;

  bool is_whole() const { return count == 0; }
  /// "3/8".
  std::string text() const { return std::to_string(index) + "/" + std::to_string(count); }
  bool operator==(const Shard&) const = default;
};

/// The most shards that a manifest can have.
inline constexpr int64_t kMostShards = 10'000;

/// "3/8" as a flag has it. Throws InvalidRequest about `shard` for anything else.
Shard read_shard(const std::string& text);

}  // namespace wan
