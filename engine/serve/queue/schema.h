// The tables of the queue's database, and how those of earlier versions become them.
#pragma once

#include <vector>

#include "engine/serve/queue/sqlite.h"

namespace wan::serve {

/// "wanq": says whose database a file is.
inline constexpr int64_t kApplication = 0x77616E71;

/// From the version before it: version n is the n-th of the list.
struct Migration {
  const char* sql;
};
/// Those of this program; it writes the version of the last one.
const std::vector<Migration>& migrations();

/// What a file is: throws InvalidRequest naming "data" where it is another program's or of a version that is newer than
/// `known`. Reads only.
void check_identity(Database& database, const std::string& file, int64_t known);
/// Brings an empty database or one of an earlier version to the last of `list`, each step in a transaction of its own.
/// Throws SqliteError; the database then stays at the version before the step that failed.
void migrate(Database& database, const std::vector<Migration>& list);

}  // namespace wan::serve
