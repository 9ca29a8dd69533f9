#include "engine/request/guidance_interval.h"

#include <algorithm>
#include <charconv>
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

std::optional<Note> guides_nowhere(const Request& request, const Schedule& schedule) {
  if (schedule.empty() || schedule.guides() || request.guidance_interval.empty()) return std::nullopt;
  const GuidanceInterval interval = read_guidance_interval(request.guidance_interval);
  // A step's level is rounded to float32, what was given is not: both are compared so.
  const GuidanceInterval rounded = {float(interval.low), float(interval.high)};
  const bool has_level = std::ranges::any_of(schedule, [&](const Step& step) { return rounded.contains(step.sigma); });
  if (has_level || (request.guidance_scale == 1 && request.guidance_scale_2 == 1)) return std::nullopt;
  return Note{"guidance_interval",
              "it has the noise level of no step: nothing is guided, and the negative prompt has no effect",
              "--dry-run lists the levels"};
}

}  // namespace wan
