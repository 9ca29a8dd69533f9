#include "engine/request/noise_name.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Runs of letters in lower case, cut before a capital that follows a small letter.
std::vector<std::string> words_of(const std::string& name) {
  std::vector<std::string> words;
  bool in_word = false, small = false;
  for (unsigned char letter : name) {
    const bool begins = !in_word || (small && std::isupper(letter));
    in_word = std::isalpha(letter) != 0;
    small = std::islower(letter) != 0;
    if (!in_word) continue;
    if (begins) words.emplace_back();
    words.back() += char(std::tolower(letter));
  }
  return words;
}

/// How often a name has a level: with the word noise behind it, and without.
struct Count {
  int with_noise = 0, alone = 0;
};

Count count(const std::vector<std::string>& words, const std::string& level) {
  Count count;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == level + "noise") ++count.with_noise;
    if (words[i] == level) ++(i + 1 < words.size() && words[i + 1] == "noise" ? count.with_noise : count.alone);
  }
  return count;
}

/// The words of one name. Without `folder` it is that of a file.
struct Words {
  Count high, low;

  Words(const std::string& name, bool folder) {
    const std::vector<std::string> words = words_of(name);
    high = count(words, "high"), low = count(words, "low");
    if (folder && words.size() > 1) high.alone = low.alone = 0;
  }
};

bool any(const Count& count) {
  return count.with_noise + count.alone > 0;
}

std::optional<NoiseLevel> level_in(const std::string& name, bool folder) {
  if (name == "transformer") return NoiseLevel::High;
  if (name == "transformer_2") return NoiseLevel::Low;
  const auto [high, low] = Words(name, folder);
  if ((high.with_noise > 0) != (low.with_noise > 0)) return high.with_noise > 0 ? NoiseLevel::High : NoiseLevel::Low;
  if (high.with_noise > 0 || (high.alone > 0) == (low.alone > 0)) return std::nullopt;
  return high.alone > 0 ? NoiseLevel::High : NoiseLevel::Low;
}

/// A name that counts, and whether it is a folder's.
struct Named {
  std::string name;
  bool folder;
};

/// The file's own name, then those of the folders around it.
std::vector<Named> names_of(const fs::path& place, const fs::path& inside) {
  std::error_code ignored;
  const fs::path whole = fs::absolute(place, ignored).lexically_normal();
  const fs::path path = whole.has_filename() ? whole : whole.parent_path();
  const auto depth = std::max<std::ptrdiff_t>(2, std::distance(inside.begin(), inside.end()));
  std::vector<Named> names;
  for (fs::path rest = path; rest.has_filename() && std::ssize(names) < depth; rest = rest.parent_path())
    names.push_back({rest.filename().string(), !names.empty() || fs::is_directory(path, ignored)});
  return names;
}

}  // namespace

std::optional<NoiseLevel> noise_level(const fs::path& path, const fs::path& name) {
  for (const auto& [text, folder] : names_of(path, name))
    if (const auto level = level_in(text, folder)) return level;
  return std::nullopt;
}

bool says_both(const fs::path& path, const fs::path& name) {
  for (const auto& [text, folder] : names_of(path, name)) {
    const auto [high, low] = Words(text, folder);
    if (any(high) || any(low)) return any(high) && any(low);
  }
  return false;
}

std::string without_level(const fs::path& path, const fs::path& name) {
  return says_both(path, name) ? "says both high and low noise" : "says neither high nor low noise";
}

}  // namespace wan
