#include "engine/residency/noise_level.h"

#include <cctype>
#include <string>
#include <vector>

namespace wan {

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

std::optional<NoiseLevel> level_of(const std::string& name) {
  if (name == "transformer") return NoiseLevel::High;
  if (name == "transformer_2") return NoiseLevel::Low;
  const std::vector<std::string> words = words_of(name);
  const Count high = count(words, "high"), low = count(words, "low");
  if ((high.with_noise > 0) != (low.with_noise > 0)) return high.with_noise > 0 ? NoiseLevel::High : NoiseLevel::Low;
  if (high.with_noise > 0 || (high.alone > 0) == (low.alone > 0)) return std::nullopt;
  return high.alone > 0 ? NoiseLevel::High : NoiseLevel::Low;
}

bool any(const Count& count) {
  return count.with_noise + count.alone > 0;
}

}  // namespace

std::optional<NoiseLevel> noise_level(const std::filesystem::path& path) {
  for (std::filesystem::path rest = path; rest.has_filename(); rest = rest.parent_path())
    if (const auto level = level_of(rest.filename().string())) return level;
  return std::nullopt;
}

bool says_both(const std::filesystem::path& path) {
  for (std::filesystem::path rest = path; rest.has_filename(); rest = rest.parent_path()) {
    const std::vector<std::string> words = words_of(rest.filename().string());
    const Count high = count(words, "high"), low = count(words, "low");
    if (any(high) || any(low)) return any(high) && any(low);
  }
  return false;
}

}  // namespace wan
