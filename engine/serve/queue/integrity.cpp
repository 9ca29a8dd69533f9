#include "engine/serve/queue/integrity.h"

#include <sys/resource.h>

#include <boost/asio/post.hpp>
#include <utility>

#include "engine/serve/queue/sqlite.h"

namespace wan::serve {
namespace {

bool is_damage(const SqliteError& error) {
  return error.kind() == SQLITE_CORRUPT || error.kind() == SQLITE_NOTADB || error.kind() == SQLITE_FORMAT;
}

}  // namespace

std::optional<std::string> damage_of(const std::filesystem::path& file, const std::stop_token& stop) {
  try {
    Database database(file, Database::Mode::ReadOnly);
    database.run("PRAGMA busy_timeout = 2000; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
    const std::stop_callback interrupt(stop, [&database] { database.interrupt(); });
    if (stop.stop_requested()) return std::nullopt;
    Statement check = database.prepare("PRAGMA quick_check(1)");
    Rows rows = check.rows();
    const std::string said = rows.next() ? std::string(rows.text(0)) : "its check answers nothing";
    if (said == "ok" || stop.stop_requested()) return std::nullopt;
    return said.substr(said.rfind('\n') + 1);  // above it stands which database it is
  } catch (const SqliteError& error) {
    if (stop.stop_requested()) return std::nullopt;
    if (is_damage(error)) return sqlite3_errstr(error.code);
    throw;
  }
}

IntegrityCheck::IntegrityCheck(boost::asio::io_context& io, std::filesystem::path file, Told damaged, Told report)
    : thread_([&io, file = std::move(file), damaged = std::move(damaged), report = std::move(report),
               alive = std::weak_ptr<const bool>(alive_)](const std::stop_token& stop) {
        setpriority(PRIO_PROCESS, 0, 19);  // Linux: of this thread alone
        const auto tell = [&](const Told& whom, const std::string& text) {
          if (stop.stop_requested()) return;
          boost::asio::post(io, [whom, text, alive] {
            if (!alive.expired()) whom(text);
          });
        };
        try {
          if (const std::optional<std::string> damage = damage_of(file, stop)) tell(damaged, *damage);
        } catch (const std::exception& error) {
          tell(report, std::string(error.what()) + "; whether the database is whole was not found out");
        }
      }) {}

}  // namespace wan::serve
