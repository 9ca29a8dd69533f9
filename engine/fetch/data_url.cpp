#include "engine/fetch/data_url.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/text.h"

namespace wan {
namespace {

/// The content of a data URL, letter by letter, percent-encoding undone.
class Content {
 public:
  Content(const std::string& url, const char* field) : url_(url), field_(field) {
    const size_t comma = url.find(',');
    if (lower(url.substr(0, 5)) != "data:" || comma == url.npos) refuse("it has no comma before its content");
    at_ = begin_ = comma + 1;
    const size_t fragment = url.find('#', at_);
    end_ = std::min(fragment, url.size());
    std::string head = lower(url.substr(0, comma));
    std::erase_if(head, is_space);
    base64_ = head.ends_with(";base64");
  }

  bool base64() const { return base64_; }
  std::string_view whole() const { return std::string_view(url_).substr(begin_, end_ - begin_); }

  /// The next byte; false at the end. Line breaks in the URL are skipped, in base64 all white space is.
  bool next(char& letter) {
    while (at_ < end_) {
      position_ = at_;
      letter = url_[at_++];
      if (is_space(letter) && (base64_ || letter != ' ')) continue;
      if (letter == '%') letter = escaped();
      if (!base64_ || !is_space(letter)) return true;
    }
    return false;
  }

  /// `wrong`, and where: the letter read last, counted from the URL's first as 1.
  [[noreturn]] void refuse_letter(const std::string& wrong) const {
    refuse("letter " + std::to_string(position_ + 1) + " is " + wrong);
  }

  [[noreturn]] void refuse(const std::string& why) const {
    throw InvalidRequest(
        field_, "must be a data URL that can be read (data:image/png;base64,...), got " + shown_url(url_) + ": " + why);
  }

  static bool is_space(char letter) { return letter == ' ' || (letter >= '\t' && letter <= '\r'); }

 private:
  static std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    return text;
  }

  // Two hexadecimal digits behind a percent sign.
  char escaped() {
    int value = 0;
    for (int i = 0; i < 2; ++i, ++at_) {
      if (at_ >= end_ || !std::isxdigit(uint8_t(url_[at_])))
        refuse_letter("% without two hexadecimal digits behind it");
      const char digit = url_[at_];
      value = value * 16 + (std::isdigit(uint8_t(digit)) ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return char(value);
  }

  const std::string& url_;
  const char* field_;
  size_t begin_ = 0, at_ = 0, end_ = 0, position_ = 0;
  bool base64_ = false;
};

/// Whether blanks stand where a program that decoded the URL as a form took '+' away: between letters of one line, at
/// uneven distances or side by side (lines that became one have single ones at even distances), and no letter for 62 is
/// left. Blanks at the ends of lines are layout.
bool lost_plus(std::string_view content) {
  if (content.find_first_of("+-_%") != content.npos) return false;
  std::string line;
  for (size_t at = 0; at < content.size();) {
    const size_t end = std::min(content.find_first_of("\t\r\n", at), content.size());
    const std::string_view piece = content.substr(at, end - at);
    const size_t first = piece.find_first_not_of(' ');
    if (first != piece.npos) line += piece.substr(first, piece.find_last_not_of(' ') + 1 - first);
    at = end + 1;
  }
  line.resize(line.find_last_not_of(" =") + 1);
  const std::string_view whole = content.substr(0, content.find_last_not_of(" \t\r\n") + 1);
  if (whole.find_first_of("\r\n") != whole.npos) return line.find(' ') != line.npos;
  const size_t length = line.find(' ');  // of a line, where blanks stand for their ends
  for (size_t at = 0; length != line.npos && at < line.size(); at += length + 1) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (end < line.size() ? end - at != length : end - at > length) return true;
  }
  return false;
}

int digit_of(char letter) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  if (letter == '+' || letter == '-') return 62;
  if (letter == '/' || letter == '_') return 63;
  const size_t at = kLetters.find(letter);
  return at == kLetters.npos ? -1 : int(at);
}

std::string decoded(Content& content) {
  if (lost_plus(content.whole()))
    content.refuse("blanks stand where base64 has '+', as after decoding a URL as a form; write + as %2B");
  std::string bytes;
  uint32_t held = 0;
  int64_t letters = 0;
  bool padded = false;
  for (char letter = 0; content.next(letter);) {
    if (letter == '=') {
      padded = true;
      continue;
    }
    const int digit = digit_of(letter);
    if (digit < 0) content.refuse_letter(shown(std::string(1, letter)) + ", which is none of base64's");
    if (padded) content.refuse_letter(shown(std::string(1, letter)) + ", behind the padding that ends base64");
    held = held << 6 | uint32_t(digit);
    // Four letters are three bytes.
    if (++letters % 4 != 1) bytes += char(held >> (6 - 2 * ((letters - 1) % 4)));
  }
  if (letters % 4 == 1) {
    content.refuse(std::to_string(letters) + " letters of base64 are no whole number of bytes; it is cut");
  }
  return bytes;
}

}  // namespace

std::string data_url_bytes(const std::string& url, const char* field) {
  Content content(url, field);
  std::string bytes;
  if (content.base64()) {
    bytes = decoded(content);
  } else {
    for (char letter = 0; content.next(letter);) bytes += letter;
  }
  if (bytes.empty()) content.refuse("it has no content");
  return bytes;
}

}  // namespace wan
