#include "engine/serve/queue/sqlite_store.h"

#include <algorithm>
#include <utility>

#include "engine/serve/queue/sqlite_work.h"

namespace wan::serve {
namespace {

constexpr int64_t kMostListed = 10'000, kMostLogsRead = 10'000;

PutUpload read_upload(const Rows& row) {
  PutUpload upload;
  upload.file = row.text(0);
  upload.owner = row.text(1);
  upload.type = row.text(2);
  upload.bytes = uint64_t(row.integer(3));
  upload.created = row.integer(4);
  return upload;
}

const std::string kSelectUpload = "SELECT file, owner, type, bytes, created FROM uploads ";

}  // namespace

bool is_fault_of_change(const SqliteError& error) {
  switch (error.kind()) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE:
    case SQLITE_MISUSE:
    case SQLITE_ERROR:
      return true;
    default:
      return false;
  }
}

std::string with_way_out(const SqliteError& error) {
  const std::string text = error.what();
  switch (error.kind()) {
    case SQLITE_FULL:
      return text + "; make room on its disk";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return text + "; end the other program that has it open";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return text + "; stop the server and restore the file from a copy";
    default:
      return text + "; see whether its disk is full, broken or read-only";
  }
}

SqliteStore::SqliteStore(std::unique_ptr<FolderLock> lock, Database database)
    : lock_(std::move(lock)), database_(std::move(database)) {}

Statement& SqliteStore::statement(const std::string& sql) {
  const auto found = statements_.find(sql);
  if (found != statements_.end()) return found->second;
  return statements_.emplace(sql, database_.prepare(sql)).first->second;
}

void SqliteStore::apply(const std::vector<Change>& changes) {
  if (changes.empty()) return;
  if (!refused_.empty()) throw StoreUnavailable(refused_);
  available([&] {
    try {
      statement("BEGIN IMMEDIATE").run();
      for (const Change& change : changes) std::visit([&](const auto& one) { make(one); }, change);
      statement("COMMIT").run();
    } catch (...) {
      database_.roll_back();
      throw;
    }
  });
}

void SqliteStore::make(const AddLogs& change) {
  Statement& insert = statement(
      "INSERT INTO logs (job, number, time, level, message) SELECT sequence, "
      "(SELECT coalesce(max(number), 0) + 1 FROM logs WHERE job = sequence), ?, ?, ? FROM jobs WHERE id = ?");
  for (const LogEntry& entry : change.entries) insert.run(entry.time, entry.level, entry.message, change.job);
}

void SqliteStore::make(const PutHook& change) {
  statement(
      "INSERT INTO hooks (job, tries, due) SELECT sequence, ?, ? FROM jobs WHERE id = ? "
      "ON CONFLICT (job) DO UPDATE SET tries = excluded.tries, due = excluded.due")
      .run(change.tries, change.due, change.job);
}

void SqliteStore::make(const RemoveHook& change) {
  statement("DELETE FROM hooks WHERE job = (SELECT sequence FROM jobs WHERE id = ?)").run(change.job);
}

void SqliteStore::make(const PutUpload& change) {
  statement("INSERT OR REPLACE INTO uploads (file, owner, type, bytes, created) VALUES (?, ?, ?, ?, ?)")
      .run(change.file, change.owner, change.type, change.bytes, change.created);
}

void SqliteStore::make(const RemoveUpload& change) {
  statement("DELETE FROM uploads WHERE file = ?").run(change.file);
}

std::vector<LogEntry> SqliteStore::logs(const std::string& job) {
  return available([&] {
    std::vector<LogEntry> entries;
    Rows row = statement(
                   "SELECT time, level, message FROM logs WHERE job = (SELECT sequence FROM jobs WHERE id = ?) "
                   "ORDER BY number LIMIT ?")
                   .rows(job, kMostLogsRead);
    while (row.next()) entries.push_back({row.integer(0), std::string(row.text(1)), std::string(row.text(2))});
    return entries;
  });
}

std::vector<PutHook> SqliteStore::hooks() {
  return available([&] {
    std::vector<PutHook> hooks;
    Rows row = statement("SELECT id, tries, due FROM hooks JOIN jobs ON job = sequence ORDER BY due, job").rows();
    while (row.next()) hooks.push_back({std::string(row.text(0)), row.integer(1), row.integer(2)});
    return hooks;
  });
}

std::optional<PutUpload> SqliteStore::find_upload(const std::string& file) {
  return available([&]() -> std::optional<PutUpload> {
    Rows row = statement(kSelectUpload + "WHERE file = ?").rows(file);
    if (!row.next()) return std::nullopt;
    return read_upload(row);
  });
}

std::vector<PutUpload> SqliteStore::uploads_before(int64_t created, int64_t most) {
  return available([&] {
    std::vector<PutUpload> uploads;
    Rows row = statement(kSelectUpload + "WHERE created < ? ORDER BY created LIMIT ?")
                   .rows(created, std::clamp<int64_t>(most, 0, kMostListed));
    while (row.next()) uploads.push_back(read_upload(row));
    return uploads;
  });
}

uint64_t SqliteStore::upload_bytes(const std::string& owner) {
  return available([&] {
    Rows row = statement("SELECT coalesce(sum(bytes), 0) FROM uploads WHERE owner = ?").rows(owner);
    return row.next() ? uint64_t(row.integer(0)) : 0;
  });
}

// What is deleted is overwritten in its page (secure_delete), but older pages stay in the -wal file until it is
// emptied.
void SqliteStore::wipe_removed() {
  if (!has_removed_ || !refused_.empty()) return;
  available([&] {
    const bool is_busy = database_.integer("PRAGMA wal_checkpoint(TRUNCATE)") != 0;
    has_removed_ = is_busy;  // another program reads
  });
}

std::vector<std::string> SqliteStore::take_troubles() {
  return std::exchange(troubles_, {});
}

}  // namespace wan::serve
