// The server: all its parts put together.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "engine/serve/settings.h"

namespace wan::serve {

struct RunOptions {
  std::filesystem::path worker;  // the program that workers are: wan-engine
  bool self_signed = false;      // TLS with a certificate in the data folder, made where it is absent
  /// The one line that says that the server listens.
  std::function<void(const std::string& line)> listens;
  /// Everything else that an operator is told: a line each.
  std::function<void(const std::string& line)> report;
};

/// Serves until SIGTERM or SIGINT comes; then takes no more requests, lets workers save their state, and returns 0, within
/// a minute. A second signal ends the process at once. SIGHUP reads the keys again. Throws InvalidRequest before it listens
/// where a setting, the data folder, the database or the keys are wrong.
int run(const Settings& settings, const RunOptions& options);

}  // namespace wan::serve
