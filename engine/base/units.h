// Sizes, speeds and times in a user's words.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wan {

/// "24GB", "1.5 GiB", "700 mb", "512KiB" or "1000B" as bytes: GB is 10^9, GiB 2^30. Nothing for other texts, negative
/// numbers, and what exceeds 64 bits. 0 is a size.
std::optional<uint64_t> read_size(std::string_view text);

/// "25GB/s" as bytes a second: a size and "/s".
std::optional<double> read_rate(std::string_view text);

/// "25 GB/s"; below 1 GB "700 MB/s".
std::string rate_text(double bytes_per_second);

/// "90s", "10m", "1.5 h" or "7d" as seconds, rounded; 0 needs no unit. Nothing for other texts, negative numbers, and more
/// than a hundred years.
std::optional<std::chrono::seconds> read_duration(std::string_view text);

}  // namespace wan
