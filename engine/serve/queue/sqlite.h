// SQLite's C interface as two classes: a connection, and a prepared statement with its rows.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace wan::serve {

/// What SQLite refused. what() is "[data] FILE: " and its words.
struct SqliteError : std::runtime_error {
  SqliteError(sqlite3* connection, int code);
  int code;  // extended result code
  /// The code without its extension: SQLITE_BUSY, SQLITE_FULL, ...
  int kind() const { return code & 0xFF; }
};

/// The rows of one run of a statement, one after the other; the statement is free again when they go.
class Rows {
 public:
  explicit Rows(sqlite3_stmt* statement) : statement_(statement) {}
  ~Rows();
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  /// False after the last one. Throws SqliteError.
  bool next();
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  double real(int column) const { return sqlite3_column_double(statement_, column); }
  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  /// Until next(); a NULL is an empty text.
  std::string_view text(int column) const;

 private:
  sqlite3_stmt* statement_;
};

/// A statement, prepared once. Used by one thread at a time, and by one Rows at a time.
class Statement {
 public:
  /// Throws SqliteError.
  Statement(sqlite3* connection, const std::string& sql);
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(Statement&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// Begins to run it with these values in place of its question marks.
  template <typename... Values>
  Rows rows(const Values&... values) {
    int place = 0;
    (bind(++place, values), ...);
    return Rows(statement_);
  }
  /// Runs it to its end.
  template <typename... Values>
  void run(const Values&... values) {
    Rows all = rows(values...);
    while (all.next()) continue;
  }

 private:
  void bind(int place, int64_t value);
  void bind(int place, int value) { bind(place, int64_t(value)); }
  void bind(int place, bool value) { bind(place, int64_t(value)); }
  void bind(int place, uint64_t value) { bind(place, int64_t(value)); }
  void bind(int place, double value);
  void bind(int place, std::string_view value);
  void bind(int place, const std::string& value) { bind(place, std::string_view(value)); }
  void bind(int place, std::nullptr_t);
  template <typename Value>
  void bind(int place, const std::optional<Value>& value) {
    value ? bind(place, *value) : bind(place, nullptr);
  }
  void check(int code) const;

  sqlite3_stmt* statement_ = nullptr;
};

/// A connection. Used by one thread at a time.
class Database {
 public:
  /// Write: the file is made where it is absent.
  enum class Mode { Write, ReadOnly };
  /// Opens a file. Throws SqliteError.
  explicit Database(const std::filesystem::path& file, Mode mode = Mode::Write);
  ~Database() { sqlite3_close(connection_); }
  Database(Database&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Statement prepare(const std::string& sql) { return Statement(connection_, sql); }
  /// Runs statements that have no values. Throws SqliteError.
  void run(const char* sql);
  /// The first column of the first row; 0 where there is no row.
  int64_t integer(const std::string& sql);
  bool is_read_only() const { return sqlite3_db_readonly(connection_, "main") == 1; }
  /// What runs at this moment ends with SQLITE_INTERRUPT. The one member that another thread may call.
  void interrupt() noexcept { sqlite3_interrupt(connection_); }
  /// Ends a transaction that is open without keeping anything of it; throws nothing.
  void roll_back() noexcept;

 private:
  sqlite3* connection_ = nullptr;
};

}  // namespace wan::serve
