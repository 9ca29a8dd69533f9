// Moments as numbers and as the texts that clients read. All are UTC.
#pragma once

#include <cstdint>
#include <string>

namespace wan::serve {

/// Milliseconds since 1970 by the machine's clock, which may jump: for what people read, not for waiting.
int64_t now_ms();
/// "2026-11-20T22:25:27.779Z". Moments outside of the years 1 to 9999 are shown as the nearest inside.
std::string iso_time(int64_t ms);
/// "2026-11-20T22:25:27.779+00:00", which Python's fromisoformat reads in all its versions.
std::string iso_time_with_offset(int64_t ms);

}  // namespace wan::serve
