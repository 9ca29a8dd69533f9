// Mapped files that another program cuts short: the system answers the next look at them with a signal (SIGBUS).
#pragma once

#include <cstddef>
#include <string_view>

namespace wan {

/// From now on a bus error inside a watched range ends the process with exit code 3 and one line on stderr that names
/// the file. Other bus errors end it as ever. For main, once.
void install_bus_handler();

/// Watches [data, data + size) under this name, of which the first 200 bytes are kept. Returns a number for
/// unwatch_range; -1 where the table is full: then the range is not watched. May be called by several threads.
int watch_range(const void* data, size_t size, std::string_view name);
/// Does nothing for -1.
void unwatch_range(int number);

}  // namespace wan
