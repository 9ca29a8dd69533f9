#include "engine/request/guidance_interval.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/text.h"

namespace wan {

namespace {

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value >= 0 && value <= 1 ? std::optional(value) : std::nullopt;
}

}  // namespace

GuidanceInterval read_guidance_interval(const std::string& text) {
  const std::string_view all = text;
  const size_t colon = all.find(':');
  if (colon != all.npos) {
    const auto low = number(all.substr(0, colon)), high = number(all.substr(colon + 1));
    if (low && high && *low < *high) return {*low, *high};
  }
  throw InvalidRequest("guidance_interval",
                       "must be two noise levels from 0 to 1, the lower first, as 0.2:0.9, got " + shown(text));
}

}  // namespace wan
