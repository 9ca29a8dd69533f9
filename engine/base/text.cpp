#include "engine/base/text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <tuple>

#include "models/files/error.h"

namespace wan {
namespace {

/// Optimal string alignment distance (Damerau): a swap of neighbours counts one, as people mistype.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before, previous(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = previous;
    previous = row;
  }
  return previous[b.size()];
}

/// Whether `word` is one of the words that make up `name`: steps of num_inference_steps and --num-inference-steps.
bool is_part(std::string_view word, std::string_view name) {
  const size_t at = name.find(word);
  if (word.empty() || at == std::string_view::npos) return false;
  auto ends = [&](size_t i) { return i >= name.size() || name[i] == '_' || name[i] == '-'; };
  return (at == 0 || ends(at - 1)) && ends(at + word.size());
}

/// The first letters of a name's words: fps of frames_per_second.
std::string initials(std::string_view name) {
  std::string letters;
  for (size_t i = 0; i < name.size(); ++i)
    if (name[i] != '_' && name[i] != '-' && (i == 0 || name[i - 1] == '_' || name[i - 1] == '-')) letters += name[i];
  return letters;
}

/// Cut where a character begins, so that no half of one remains.
void shorten(std::string& text, size_t length) {
  if (text.size() <= length) return;
  while (length > 0 && (text[length] & 0xC0) == 0x80) --length;
  text.resize(length);
  text += "...";
}

}  // namespace

std::string shown(const nlohmann::json& value, size_t longest) {
  constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
  // Not dumped: a stranger's value may be nested deeper than the stack.
  if (value.is_array()) return "a list of " + std::to_string(value.size());
  if (value.is_object()) return "an object";
  if (!value.is_string()) {
    return value.dump();
  }
  std::string text = value.get<std::string>();
  shorten(text, longest);
  text = nlohmann::json(text).dump(-1, ' ', false, kReplace);
  text.front() = text.back() = '\'';
  return text;
}

std::string shown_path(const std::string& path) {
  return path.starts_with("data:") || path.find("://") != std::string::npos ? shown_url(path)
                                                                            : "'" + shown_name(path) + "'";
}

std::string decimals(double value) {
  char text[330];  // the greatest double has 309 digits before the point
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

std::string duration(double seconds) {
  char text[64];
  const long whole = std::lround(seconds);
  if (seconds < 9.95)
    std::snprintf(text, sizeof text, "%.2f s", seconds);
  else if (whole < 60)
    std::snprintf(text, sizeof text, "%ld s", whole);
  else if (whole < 3600)
    std::snprintf(text, sizeof text, "%ld min %ld s", whole / 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%ld h %ld min", whole / 3600, whole / 60 % 60);
  return text;
}

std::string gigabytes(uint64_t bytes) {
  const bool large = bytes >= 10'000'000;
  char text[32];
  std::snprintf(text, sizeof text, large ? "%.2f GB" : "%.2f MB", double(bytes) / (large ? 1e9 : 1e6));
  return text;
}

std::string shown_url(const std::string& url) {
  if (!url.starts_with("data:")) return shown(public_url(url), 200);
  return url.find(',') < 60 ? shown(url.substr(0, url.find(',')) + ",...") : shown(url);
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr size_t kLongest = 64;  // no name is longer, and a hostile one must not cost time
  std::string_view letters = word.substr(0, kLongest);
  letters.remove_prefix(std::min(letters.find_first_not_of('-'), letters.size()));
  std::string best;
  size_t fewest = std::max<size_t>(2, letters.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    size_t changes = distance(word.substr(0, kLongest), candidate);
    // As good as two wrong letters.
    if (is_part(letters, candidate) || (letters.size() > 1 && initials(candidate) == letters))
      changes = std::min(changes, size_t(2));
    if (changes < fewest) std::tie(fewest, best) = std::tuple(changes, candidate);
  }
  return best;
}

std::string nearest_text(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string name = nearest(word, candidates);
  return name.empty() ? "" : "; the nearest is " + name;
}

std::string shown_shape(std::span<const int64_t> shape) {
  constexpr size_t kMost = 8;
  std::string text = "[";
  for (size_t i = 0; i < std::min(shape.size(), kMost); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  if (shape.size() > kMost) text += ", and " + std::to_string(shape.size() - kMost) + " more";
  return text + "]";
}

std::string either(const std::vector<std::string>& words, const char* last) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text += (i == 0 ? "" : i + 1 == words.size() ? last : ", ") + words[i];
  return text;
}

}  // namespace wan
