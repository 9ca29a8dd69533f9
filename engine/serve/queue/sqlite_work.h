// Work on the database of jobs, with the errors that callers of a store expect.
#pragma once

#include <string>

#include "engine/serve/queue/sqlite.h"
#include "engine/serve/queue/store.h"

namespace wan::serve {

/// Whether a change itself is at fault, and not the moment or the disk.
bool is_fault_of_change(const SqliteError& error);
/// The error's words, with what its reader can do.
std::string with_way_out(const SqliteError& error);

/// Runs what asks or changes the database; what SQLite refuses for reasons of its own becomes StoreUnavailable.
template <typename Work>
auto available(const Work& work) {
  try {
    return work();
  } catch (const SqliteError& error) {
    if (is_fault_of_change(error)) throw;
    throw StoreUnavailable(with_way_out(error));
  }
}

}  // namespace wan::serve
