// Words that no prompt may have: a list that whoever renders, or runs a server, writes. None comes with the program.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace wan {

class BlockedWords {
 public:
  static constexpr size_t kMostBytes = 1 << 20, kMostLine = 1000;  // of the file, and of a line of it

  /// UTF-8 text: a word or phrase a line; what stands behind # at the start of a line or after a space is a remark. Throws
  /// InvalidRequest naming blocked_words, and the line where one is wrong.
  static BlockedWords read(const std::filesystem::path& file);
  explicit BlockedWords(const std::string& text);

  /// The first word or phrase of the list that the prompt has, as the list spells it; empty where it has none. Whole words
  /// are compared (models/text/clean/words.h); those of a phrase follow each other, whatever stands between them.
  std::string found_in(const std::string& prompt) const;
  size_t size() const { return size_; }

 private:
  struct Phrase {
    std::vector<std::u32string> rest;  // behind its first word
    std::string text;                  // as the list has it
  };
  std::map<std::u32string, std::vector<Phrase>> by_first_;
  size_t size_ = 0;
};

}  // namespace wan
