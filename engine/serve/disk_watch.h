// A look at the disk, on which a queue may not fill up.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "engine/serve/net/pool.h"

namespace wan::serve {

class DiskWatch {
 public:
  using FreeBytes = std::function<std::optional<uint64_t>(const std::filesystem::path&)>;

  /// `free_bytes` empty: as the file system tells. `pause` is told, once, why the disk is full, and `resume` when it is
  /// no longer.
  DiskWatch(Pool& pool, std::filesystem::path folder, uint64_t least_free_bytes, FreeBytes free_bytes,
            std::function<void(const std::string&)> pause, std::function<void()> resume,
            std::function<void(const std::string&)> report);

  Awaitable<void> look();
  /// At the last look.
  uint64_t free_bytes() const { return free_; }

 private:
  Pool& pool_;
  const std::filesystem::path folder_;
  const uint64_t least_;
  const FreeBytes ask_;
  const std::function<void(const std::string&)> pause_;
  const std::function<void()> resume_;
  const std::function<void(const std::string&)> report_;
  uint64_t free_ = 0;
  bool is_full_ = false;
};

}  // namespace wan::serve
