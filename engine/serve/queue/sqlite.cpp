#include "engine/serve/queue/sqlite.h"

#include "engine/base/text.h"

namespace wan::serve {
namespace {

std::string refusal(sqlite3* connection, int code) {
  const char* file = connection ? sqlite3_db_filename(connection, "main") : nullptr;
  const bool has_words = connection && sqlite3_extended_errcode(connection) == code;
  const char* words = has_words ? sqlite3_errmsg(connection) : sqlite3_errstr(code);
  return "[data] " + (file && *file ? shown_path(file) : std::string("the database")) + ": " + words;
}

}  // namespace

SqliteError::SqliteError(sqlite3* connection, int code) : std::runtime_error(refusal(connection, code)), code(code) {}

Rows::~Rows() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

bool Rows::next() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  sqlite3* connection = sqlite3_db_handle(statement_);
  throw SqliteError(connection, sqlite3_extended_errcode(connection));
}

std::string_view Rows::text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_, column);
  if (!text) return {};
  return {reinterpret_cast<const char*>(text), size_t(sqlite3_column_bytes(statement_, column))};
}

Statement::Statement(sqlite3* connection, const std::string& sql) {
  const int code =
      sqlite3_prepare_v3(connection, sql.c_str(), int(sql.size()) + 1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  if (code != SQLITE_OK) throw SqliteError(connection, sqlite3_extended_errcode(connection));
}

void Statement::check(int code) const {
  if (code != SQLITE_OK) throw SqliteError(sqlite3_db_handle(statement_), code);
}

void Statement::bind(int place, int64_t value) {
  check(sqlite3_bind_int64(statement_, place, value));
}
void Statement::bind(int place, double value) {
  check(sqlite3_bind_double(statement_, place, value));
}
void Statement::bind(int place, std::nullptr_t) {
  check(sqlite3_bind_null(statement_, place));
}
void Statement::bind(int place, std::string_view value) {
  const char* data = value.data() ? value.data() : "";
  check(sqlite3_bind_text64(statement_, place, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

Database::Database(const std::filesystem::path& file, Mode mode) {
  constexpr int kFlags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  const int access = mode == Mode::Write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  const int code = sqlite3_open_v2(file.c_str(), &connection_, kFlags | access, nullptr);
  if (code == SQLITE_OK) return;
  const SqliteError error(connection_, code);
  sqlite3_close(connection_);
  throw error;
}

void Database::run(const char* sql) {
  const int code = sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) throw SqliteError(connection_, sqlite3_extended_errcode(connection_));
}

int64_t Database::integer(const std::string& sql) {
  Statement statement = prepare(sql);
  Rows rows = statement.rows();
  return rows.next() ? rows.integer(0) : 0;
}

void Database::roll_back() noexcept {
  if (!sqlite3_get_autocommit(connection_)) sqlite3_exec(connection_, "ROLLBACK", nullptr, nullptr, nullptr);
}

}  // namespace wan::serve
