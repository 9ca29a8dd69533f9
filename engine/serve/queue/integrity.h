// A look through the whole database while it is in use: too long for a start, so that it is made beside the work.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "engine/serve/net/asio.h"

namespace wan::serve {

/// What SQLite's quick_check says of a database: a line for people, or nothing where all is right, and where `stop` was
/// asked for before the end. Only reads, over a connection of its own. Takes some 4 ms for a thousand jobs. Throws
/// SqliteError where the file cannot be read for another reason than damage.
std::optional<std::string> damage_of(const std::filesystem::path& file, const std::stop_token& stop = {});

/// Looks from its construction on, on a thread that leaves the cores to others. `damaged` gets what is wrong, `report` a
/// line where that cannot be found out; one of them is called at most once, on the io_context's thread, and not after this
/// object is gone.
class IntegrityCheck {
 public:
  using Told = std::function<void(const std::string&)>;
  IntegrityCheck(boost::asio::io_context& io, std::filesystem::path file, Told damaged, Told report);

 private:
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  std::jthread thread_;
};

}  // namespace wan::serve
