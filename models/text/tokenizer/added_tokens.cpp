#include "models/text/tokenizer/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "models/files/utf8.h"

namespace wan::text {
namespace {

/// \w as Unicode recommends it for regular expressions (UTS 18).
bool is_word(char32_t character) {
  const auto c = static_cast<UChar32>(character);
  return u_isUAlphabetic(c) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK));
}

char32_t first_character(std::string_view text) {
  size_t at = 0;
  char32_t character = 0;
  if (!text.empty()) next_code_point(text, at, character);
  return character;
}

size_t last_character_start(std::string_view text) {
  size_t start = text.size();
  while (start > 0 && (text[--start] & 0xC0) == 0x80) {
  }
  return start;
}

bool is_space(std::string_view character) {
  return u_isUWhiteSpace(static_cast<UChar32>(first_character(character)));
}

/// Whether no word character touches text[begin, end).
bool stands_alone(std::string_view text, size_t begin, size_t end) {
  const std::string_view before = text.substr(0, begin), after = text.substr(end);
  const bool word_before = !before.empty() && is_word(first_character(before.substr(last_character_start(before))));
  return !word_before && (after.empty() || !is_word(first_character(after)));
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::vector<std::pair<std::string, int32_t>> entries;
  for (const AddedToken& token : tokens_) entries.emplace_back(token.content, static_cast<int32_t>(entries.size()));
  trie_ = PieceTrie(std::move(entries));
}

std::vector<Segment> AddedTokens::split(std::string_view text) const {
  std::vector<Segment> segments;
  size_t done = 0;  // everything before it is in a segment
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    int32_t index = -1;
    trie_.prefixes(text.substr(at), [&](size_t found, int32_t value) {
      length = found;
      index = value;
    });
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t end = at + length;
    size_t begin = std::min(std::max(at, done), end);  // white space that the token before took is not taken again
    at = end;                                          // a match that is discarded is not searched again either
    if (token.single_word && !stands_alone(text, end - length, end)) continue;
    while (token.lstrip && begin > done) {
      const size_t before = last_character_start(text.substr(0, begin));
      if (!is_space(text.substr(before, begin - before))) break;
      begin = before;
    }
    while (token.rstrip && end < text.size() && is_space(text.substr(end)))
      end += to_utf8(std::u32string(1, first_character(text.substr(end)))).size();
    if (begin > done) segments.push_back({text.substr(done, begin - done), -1});
    segments.push_back({text.substr(begin, end - begin), token.id});
    done = std::max(done, end);
  }
  if (done < text.size()) segments.push_back({text.substr(done), -1});
  return segments;
}

}  // namespace wan::text
