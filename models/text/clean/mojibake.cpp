#include "models/text/clean/mojibake.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "models/files/utf8.h"
#include "models/text/clean/patterns.h"

namespace wan::text {
namespace {

struct CodePage {
  bool sloppy;            // U+FFFD stands for byte 0x1A, and lost bytes are looked for
  bool macroman;          // an en dash and a space are common there, so no space is taken for a lost 0xA0
  const char32_t* upper;  // what bytes 0x80..0xFF mean
};

#include "models/text/clean/code_pages.inc"

constexpr size_t kWindows1252 = 1;  // as the table is ordered
constexpr char32_t kSubstitute = 0x1A, kReplacement = 0xFFFD;

/// The bytes, one in each char32_t, that give `text` when read in a code page; nothing where a character is not in it.
class Encoder {
 public:
  explicit Encoder(const CodePage& page) : sloppy_(page.sloppy) {
    for (char32_t byte = 0x80; byte < 0x100; ++byte) bytes_[page.upper[byte - 0x80]] = byte;
    if (sloppy_) bytes_[kReplacement] = kSubstitute;
  }
  std::optional<std::u32string> operator()(std::u32string_view text) const {
    std::u32string bytes;
    bytes.reserve(text.size());
    for (char32_t c : text) {
      if (c < 0x80) {
        if (sloppy_ && c == kSubstitute) return {};
        bytes += c;
      } else if (auto found = bytes_.find(c); found != bytes_.end()) {
        bytes += found->second;
      } else {
        return {};
      }
    }
    return bytes;
  }

 private:
  bool sloppy_;
  std::unordered_map<char32_t, char32_t> bytes_;
};

const std::array<Encoder, std::size(kCodePages)>& encoders() {
  static const auto kEncoders = []<size_t... I>(std::index_sequence<I...>) {
    return std::array{Encoder(kCodePages[I])...};
  }
  (std::make_index_sequence<std::size(kCodePages)>());
  return kEncoders;
}

bool is_ascii(std::u32string_view text) {
  return std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; });
}

/// A lone "à" whose second byte became a space: 0xC3 0x20 gets its 0xA0 back and keeps the space, except where the word
/// goes on as a Portuguese contraction of "a" does (às, àquele, àquela, àquilo), or another space follows.
std::u32string restore_a_grave(std::u32string_view bytes) {
  std::u32string result;
  for (size_t at = 0; at < bytes.size(); ++at) {
    result += bytes[at];
    if (bytes[at] != 0xC3 || at + 1 == bytes.size() || bytes[at + 1] != ' ') continue;
    const std::u32string_view rest = bytes.substr(at + 2);
    const auto continues = [&](std::u32string_view word) { return rest.starts_with(word); };
    if (!continues(U" ") && !continues(U"quele") && !continues(U"quela") && !continues(U"quilo") && !continues(U"s "))
      result += 0xA0;
  }
  return result;
}

/// Spaces that can only have been 0xA0. ftfy: restore_byte_a0; nothing happens where no sequence asks for it.
std::u32string restore_byte_a0(std::u32string bytes) {
  const auto has_match = [&] {
    for (size_t at = 0; at < bytes.size(); ++at)
      if (match_spaced_utf8(bytes, at)) return true;
    return false;
  };
  if (!has_match()) return bytes;
  bytes = restore_a_grave(bytes);
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = match_spaced_utf8(bytes, at);
    std::replace(bytes.begin() + at, bytes.begin() + at + length, U' ', U'\xA0');
    at += std::max<size_t>(length, 1);
  }
  return bytes;
}

/// Sequences with lost bytes become the three bytes of U+FFFD.
std::u32string replace_lossy_sequences(std::u32string_view bytes) {
  std::u32string result;
  for (size_t at = 0; at < bytes.size();) {
    if (const size_t length = match_lossy_utf8(bytes, at)) {
      result += U"\xEF\xBF\xBD";
      at += length;
    } else {
      result += bytes[at++];
    }
  }
  return result;
}

/// A character above U+FFFF as its two surrogates, three bytes each (CESU-8); 0 where no such pair begins at `at`.
/// The reference's `$` also matches before a final line feed, which is then taken for the last byte: kept, to be exact.
char32_t surrogate_pair(std::string_view bytes, size_t at) {
  if (bytes.size() - at < 6) return 0;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
  const auto in = [&](size_t i, int first, int last) { return byte(i) >= first && byte(i) <= last; };
  const bool final_feed = at + 6 == bytes.size() && byte(5) == '\n';
  if (byte(0) != 0xED || !in(1, 0xA0, 0xAF) || !in(2, 0x80, 0xBF) || byte(3) != 0xED || !in(4, 0xB0, 0xBF) ||
      !(in(5, 0x80, 0xBF) || final_feed))
    return 0;
  return 0x10000 + ((byte(1) & 0x0F) << 16) + ((byte(2) & 0x3F) << 10) + ((byte(4) & 0x0F) << 6) + (byte(5) & 0x3F);
}

/// Reads UTF-8, surrogate pairs and Java's two-byte NUL included (ftfy.bad_codecs.utf8_variants); nothing where it is
/// none.
std::optional<std::u32string> decode_utf8_variants(std::u32string_view byte_values) {
  const std::string bytes(byte_values.begin(), byte_values.end());
  std::u32string text;
  for (size_t at = 0; at < bytes.size();) {
    char32_t code_point;
    const std::string_view rest = std::string_view(bytes).substr(at);
    if (next_code_point(bytes, at, code_point)) {
      text += code_point;
    } else if (rest.starts_with("\xC0\x80") || rest == "\xC0\n") {  // the same `$` before a final line feed
      text += char32_t(0);
      at += 2;
    } else if (char32_t pair = surrogate_pair(bytes, at)) {
      text += pair;
      at += 6;
    } else {
      return {};
    }
  }
  return text;
}

/// The whole text read back in the first encoding that gives UTF-8.
std::optional<std::u32string> decode_whole(std::u32string_view text) {
  for (size_t i = 0; i < std::size(kCodePages); ++i) {
    std::optional<std::u32string> bytes = encoders()[i](text);
    if (!bytes) continue;
    if (!kCodePages[i].macroman) bytes = restore_byte_a0(std::move(*bytes));
    if (kCodePages[i].sloppy) bytes = replace_lossy_sequences(*bytes);
    if (auto fixed = decode_utf8_variants(*bytes)) return fixed;
  }
  return {};
}

/// Misread stretches within text that is otherwise in order, each mended by itself. A stretch is shorter than the text,
/// which ends the recursion.
std::u32string decode_stretches(std::u32string_view text) {
  std::u32string result;
  for (size_t at = 0; at < text.size();) {
    const size_t length = match_misread_utf8(text, at);
    if (length == 0) {
      result += text[at++];
      continue;
    }
    std::u32string stretch(text.substr(at, length));
    const bool mend = length < text.size() && is_bad(stretch);
    result += mend ? fix_encoding(std::move(stretch)) : stretch;
    at += length;
  }
  return result;
}

/// Latin-1 text with C1 controls, read as Windows-1252; nothing where that has no character for one of the bytes.
std::optional<std::u32string> latin1_as_windows_1252(std::u32string_view text) {
  std::u32string fixed;
  for (char32_t c : text) {
    if (c > 0xFF) return {};
    const char32_t read = c < 0x80 ? c : kCodePages[kWindows1252].upper[c - 0x80];
    if (read >= 0x80 && read < 0xA0) return {};  // unassigned: only the sloppy table holds the byte itself
    fixed += read;
  }
  return fixed;
}

std::u32string fix_encoding_once(const std::u32string& text) {
  if (is_ascii(text) || !is_bad(text)) return text;
  if (auto fixed = decode_whole(text)) return *fixed;
  if (std::u32string fixed = decode_stretches(text); fixed != text) return fixed;
  if (auto fixed = latin1_as_windows_1252(text); fixed && *fixed != text) return *fixed;
  return fix_c1_controls(text);
}

}  // namespace

std::u32string fix_c1_controls(std::u32string text) {
  for (char32_t& c : text)
    if (c >= 0x80 && c < 0xA0) c = kCodePages[kWindows1252].upper[c - 0x80];
  return text;
}

std::u32string fix_encoding(std::u32string text) {
  while (true) {
    std::u32string fixed = fix_encoding_once(text);
    if (fixed == text) return text;
    text = std::move(fixed);
  }
}

}  // namespace wan::text
