#include "engine/job/blocked_words.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "models/files/utf8.h"
#include "models/text/clean/words.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char *kField = "blocked_words", *kSpaces = " \t\r\f\v";

[[noreturn]] void refuse(const std::string& wrong) {
  throw InvalidRequest(kField, wrong);
}

/// Without its remark and without white space around it.
std::string without_remark(std::string line) {
  for (size_t at = line.find('#'); at != line.npos; at = line.find('#', at + 1))
    if (at == 0 || std::string(kSpaces).find(line[at - 1]) != std::string::npos) {
      line.resize(at);
      break;
    }
  const size_t first = line.find_first_not_of(kSpaces);
  if (first == line.npos) return "";
  return line.substr(first, line.find_last_not_of(kSpaces) - first + 1);
}

}  // namespace

BlockedWords BlockedWords::read(const fs::path& file) {
  check_readable(kField, file.string());
  std::ifstream in(file, std::ios::binary);
  std::string text(kMostBytes + 1, '\0');
  in.read(text.data(), std::streamsize(text.size()));
  if (in.bad() || (in.fail() && !in.eof())) refuse("cannot be read: " + shown_path(file.string()));
  text.resize(size_t(in.gcount()));
  if (text.size() > kMostBytes)
    refuse("must be a file of at most 1 MB, a word or phrase a line, got a larger one: " + shown_path(file.string()));
  return BlockedWords(text);
}

BlockedWords::BlockedWords(const std::string& text) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  std::istringstream lines(text.starts_with(kMark) ? text.substr(kMark.size()) : text);
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string at = "line " + std::to_string(++number);
    if (line.size() > kMostLine)
      refuse(at + " must have at most " + std::to_string(kMostLine) + " bytes, has " + std::to_string(line.size()));
    if (!is_utf8(line)) refuse(at + " must be UTF-8; save the file as UTF-8");
    const std::string plain = without_remark(line);
    if (plain.empty()) continue;
    std::vector<std::u32string> words = text::words_of(from_utf8(plain));
    if (words.empty()) refuse(at + " must have a letter or a digit, got " + shown(plain) + "; # begins a remark");
    const std::u32string first = words.front();
    words.erase(words.begin());
    by_first_[first].push_back({std::move(words), plain});
    ++size_;
  }
}

std::string BlockedWords::found_in(const std::string& prompt) const {
  if (size_ == 0) return "";
  const std::vector<std::u32string> words = text::words_of(from_utf8(prompt));
  for (size_t at = 0; at < words.size(); ++at) {
    const auto known = by_first_.find(words[at]);
    if (known == by_first_.end()) continue;
    for (const Phrase& phrase : known->second)
      if (phrase.rest.size() < words.size() - at &&
          std::equal(phrase.rest.begin(), phrase.rest.end(), words.begin() + int64_t(at) + 1))
        return phrase.text;
  }
  return "";
}

}  // namespace wan
