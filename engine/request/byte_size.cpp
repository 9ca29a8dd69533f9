#include "engine/request/byte_size.h"

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <string>

namespace wan {

std::optional<uint64_t> byte_size(std::string_view text) {
  const std::string all(text);
  if (all.empty() || !std::isdigit(static_cast<unsigned char>(all[0])) || all.find_first_of("xX") != std::string::npos)
    return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(all.c_str(), &end);
  std::string unit;
  for (; *end != '\0'; ++end)
    if (*end != ' ') unit += char(std::tolower(static_cast<unsigned char>(*end)));
  double factor = 0;
  if (unit.empty()) return number == 0 ? std::optional<uint64_t>(0) : std::nullopt;
  const bool binary = unit.size() == 3 && unit[1] == 'i' && unit[2] == 'b';
  const double step = binary ? 1024 : 1000;
  if (unit == "b")
    factor = 1;
  else if (binary || (unit.size() == 2 && unit[1] == 'b'))
    factor = unit[0] == 'k'   ? step
             : unit[0] == 'm' ? step * step
             : unit[0] == 'g' ? step * step * step
             : unit[0] == 't' ? step * step * step * step
                              : 0;
  const double bytes = std::floor(number * factor);
  if (factor == 0 || !std::isfinite(bytes) || bytes >= 1e18) return std::nullopt;
  return uint64_t(bytes);
}

}  // namespace wan
