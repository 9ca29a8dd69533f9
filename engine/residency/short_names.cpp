#include "engine/residency/short_names.h"

#include <algorithm>
#include <iterator>

namespace wan {

namespace fs = std::filesystem;

namespace {

/// The last components of a path.
std::string last_of(const fs::path& path, std::ptrdiff_t components) {
  fs::path last;
  auto at = path.begin();
  std::advance(at, std::max<std::ptrdiff_t>(std::distance(path.begin(), path.end()) - components, 0));
  for (; at != path.end(); ++at) last /= *at;
  return last.generic_string();
}

}  // namespace

std::vector<std::string> short_names(const std::vector<fs::path>& paths) {
  std::vector<fs::path> whole;
  std::error_code ignored;
  for (const fs::path& path : paths) whole.push_back(fs::absolute(path, ignored).lexically_normal());
  std::vector<std::string> names;
  for (const fs::path& path : whole) {
    const std::ptrdiff_t all = std::distance(path.begin(), path.end());
    std::ptrdiff_t components = 1;
    const auto is_called_so = [&](const fs::path& other) {
      return other != path && last_of(other, components) == last_of(path, components);
    };
    while (components < all && std::any_of(whole.begin(), whole.end(), is_called_so)) ++components;
    names.push_back(last_of(path, components));
  }
  return names;
}

}  // namespace wan
