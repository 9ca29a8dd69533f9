// Sizes of memory as users write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace wan {

/// "20GB", "0.5 GB", "900MB", "64kB", "12GiB", "1024B" or "0", in any case; powers of ten, with an i of two. Nothing
/// where it is no such text, is negative or has no unit.
std::optional<uint64_t> byte_size(std::string_view text);

}  // namespace wan
