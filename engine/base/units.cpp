#include "engine/base/units.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace wan {

namespace {

struct Unit {
  std::string_view word;
  double bytes;
};
constexpr Unit kUnits[] = {{"b", 1},        {"kb", 1e3},     {"mb", 1e6},     {"gb", 1e9},    {"tb", 1e12},
                           {"kib", 0x1p10}, {"mib", 0x1p20}, {"gib", 0x1p30}, {"tib", 0x1p40}};

struct TimeUnit {
  std::string_view word;
  double seconds;
};
constexpr TimeUnit kTimes[] = {{"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400}};
constexpr double kMostSeconds = 100 * 365.25 * 86400;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& letter : out)
    if (letter >= 'A' && letter <= 'Z') letter = char(letter - 'A' + 'a');
  return out;
}

}  // namespace

std::optional<uint64_t> read_size(std::string_view text) {
  const std::string words = lower(text);
  double number = 0;
  const auto [end, error] =
      std::from_chars(words.data(), words.data() + words.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !(number >= 0) || words[0] == '-') return std::nullopt;
  std::string_view unit(end, size_t(words.data() + words.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  for (const Unit& known : kUnits) {
    if (known.word != unit) continue;
    const double bytes = std::round(number * known.bytes);
    return bytes < 0x1p63 ? std::optional<uint64_t>(uint64_t(bytes)) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<double> read_rate(std::string_view text) {
  if (text.size() < 2 || lower(text.substr(text.size() - 2)) != "/s") return std::nullopt;
  text.remove_suffix(2);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  const std::optional<uint64_t> size = read_size(text);
  return size ? std::optional<double>(double(*size)) : std::nullopt;
}

std::string rate_text(double bytes_per_second) {
  char text[40];
  if (bytes_per_second < 1e9)
    std::snprintf(text, sizeof text, "%.0f MB/s", bytes_per_second / 1e6);
  else
    std::snprintf(text, sizeof text, "%.3g GB/s", bytes_per_second / 1e9);
  return text;
}

std::optional<std::chrono::seconds> read_duration(std::string_view text) {
  const std::string words = lower(text);
  double number = 0;
  const auto [end, error] =
      std::from_chars(words.data(), words.data() + words.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !(number >= 0) || words[0] == '-') return std::nullopt;
  std::string_view unit(end, size_t(words.data() + words.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  if (unit.empty() && number == 0) return std::chrono::seconds(0);
  for (const TimeUnit& known : kTimes)
    if (known.word == unit && number * known.seconds <= kMostSeconds)
      return std::chrono::seconds(std::llround(number * known.seconds));
  return std::nullopt;
}

}  // namespace wan
