// Lists of names in messages, cut where they are long.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace wan {

/// Most names that such a list shows.
inline constexpr size_t kListedNames = 4;

/// "a, b, c, d and 4 more"; "a and b" where there are no more than kListedNames. The words are taken as they are.
std::string listed(std::vector<std::string> words);

}  // namespace wan
