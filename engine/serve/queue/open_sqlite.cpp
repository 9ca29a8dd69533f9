// What a database must pass before jobs are entrusted to it.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/serve/queue/schema.h"
#include "engine/serve/queue/sqlite_store.h"
#include "models/files/atomic_file.h"

namespace wan::serve {
namespace {

[[noreturn]] void refuse(const std::string& wrong) {
  throw InvalidRequest("data", wrong);
}

[[noreturn]] void refuse_damaged(const std::string& shown, const std::string& why) {
  refuse("must hold a whole database, but " + shown + " is damaged (" + why +
         "); restore it from a copy, or move it and its -wal file away to begin with an empty queue");
}

[[noreturn]] void refuse_read_only(const std::string& shown) {
  refuse("must be a folder that can be written, but " + shown +
         " is read-only; give this user the right to write to it and its folder, or name another folder");
}

[[noreturn]] void refuse(const SqliteError& error, const std::string& shown) {
  switch (error.kind()) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      refuse("must be a folder that no other program uses, but " + shown +
             " is locked; end the program that has it open, or name another folder");
    case SQLITE_READONLY:
    case SQLITE_PERM:
      refuse_read_only(shown);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
      refuse_damaged(shown, sqlite3_errstr(error.code));
    case SQLITE_FULL:
      refuse("must be on a disk with room, but there is none for " + shown + "; make room, or name another folder");
    default:
      refuse("must hold a database that can be opened, but " + shown + " cannot (" + sqlite3_errstr(error.code) +
             "); see whether its folder is there and can be written, or name another folder");
  }
}

/// Makes an empty file that only this user can read; SQLite gives its other files the same rights. Leaves one that is
/// there.
void make_private(const std::filesystem::path& file, const std::string& shown) {
  const int made = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (made >= 0) {
    close(made);
    sync_folder(file.parent_path().string());
    return;
  }
  if (errno == EEXIST) return;
  if (errno == EACCES || errno == EROFS || errno == EPERM) refuse_read_only(shown);
  refuse("must be a folder, but " + shown + " cannot be made there (" + std::generic_category().message(errno) +
         "); make the folder, or name another one");
}

/// The begin of each table, whatever their sizes; damage elsewhere is found by IntegrityCheck. Throws SqliteError.
void check_begins(Database& database) {
  std::vector<std::string> tables;
  {
    Statement names = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'");
    Rows rows = names.rows();
    while (rows.next()) tables.emplace_back(rows.text(0));
  }
  for (const std::string& table : tables) database.integer("SELECT 1 FROM \"" + table + "\" LIMIT 1");
}

Database open_checked(const std::filesystem::path& file, const std::string& shown) {
  Database database(file);
  database.run("PRAGMA busy_timeout = 2000; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
  check_identity(database, file.string(), int64_t(migrations().size()));
  if (database.is_read_only()) refuse_read_only(shown);
  check_begins(database);
  database.run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864");
  migrate(database, migrations());
  database.run("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON");
  return database;
}

}  // namespace

std::unique_ptr<Store> open_sqlite(const std::filesystem::path& file) {
  const std::string shown = shown_path(file.string());
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored))
    refuse("must be a folder, but there is none at " + shown_path(folder.string()) + "; make it, or name another one");
  if (eaccess(folder.c_str(), R_OK | W_OK | X_OK) != 0) refuse_read_only(shown);
  auto lock = std::make_unique<FolderLock>(folder);
  if (!lock->held())
    refuse("must be a folder that no other server uses, but one has " + shown_path(folder.string()) +
           "; stop that server, or name another folder");
  make_private(file, shown);
  try {
    return std::make_unique<SqliteStore>(std::move(lock), open_checked(file, shown));
  } catch (const SqliteError& error) {
    refuse(error, shown);
  }
}

}  // namespace wan::serve
