#include "engine/request/manifest_lines.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "engine/base/text.h"
#include "models/files/json.h"

namespace wan {
namespace {

using nlohmann::json;

constexpr std::string_view kSpace = " \t\r\n";

/// A piece of the manifest's text that should be one object.
struct Piece {
  size_t begin, end;
};

size_t skip_space(std::string_view text, size_t from) {
  return std::min(text.find_first_not_of(kSpace, from), text.size());
}

/// Lines in order; `function(begin, end)` without the newline.
template <class Function>
void each_line(std::string_view text, Function function) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    function(begin, end);
    begin = end + 1;
  }
}

/// Comment lines become spaces, so that positions stay.
void blank_comments(std::string& text) {
  each_line(text, [&](size_t begin, size_t end) {
    const size_t first = skip_space(std::string_view(text).substr(0, end), begin);
    const std::string_view rest = std::string_view(text).substr(first, end - first);
    if (rest.starts_with('#') || rest.starts_with("//")) std::fill(text.begin() + begin, text.begin() + end, ' ');
  });
}

/// Tells letters inside of JSON texts from those around them.
class Quotes {
 public:
  /// The next letter; whether it belongs to a text, its quotes among it.
  bool holds(char letter) {
    const bool inside = in_text_;
    if (escaped_)
      escaped_ = false;
    else if (inside && letter == '\\')
      escaped_ = true;
    else if (letter == '"')
      in_text_ = !in_text_;
    return inside || in_text_;
  }

 private:
  bool in_text_ = false, escaped_ = false;
};

int64_t change_of_depth(char letter) {
  return letter == '[' || letter == '{' ? 1 : letter == ']' || letter == '}' ? -1 : 0;
}

class Splitter {
 public:
  Splitter(std::string_view text, LineErrors& errors) : text_(text), errors_(errors) {}

  std::vector<ManifestLine> run() {
    const size_t first = skip_space(text_, 0);
    if (first == text_.size()) fail(0, "must hold at least one request, and is empty");
    if (is_spread(first)) {
      fail(
          first,
          "opens a request with { that is not closed on its line; write one request a line, or all of them in one list "
          "[ ]");
      return {};
    }
    std::vector<ManifestLine> found;
    for (const Piece& piece : first < text_.size() && text_[first] == '[' ? elements(first) : lines()) {
      if (errors_.full_before(line_of(piece.begin))) break;
      read(piece, found);
    }
    return found;
  }

 private:
  int64_t line_of(size_t position) {
    // Positions come in rising order but for errors, so the count goes on from where it was.
    if (position < counted_) counted_ = 0, line_ = 1;
    line_ += std::count(text_.begin() + counted_, text_.begin() + position, '\n');
    counted_ = position;
    return line_;
  }

  void fail(size_t position, const std::string& wrong) {
    errors_.add(line_of(position), FieldError{"", wrong, "json_invalid", "", ""});
  }

  /// Whether the object that opens at `first` is laid out over several lines, as programs print JSON for people. A line
  /// that is only cut off is followed by nothing or by another object.
  bool is_spread(size_t first) const {
    if (first == text_.size() || text_[first] != '{') return false;
    const size_t end = std::min(text_.find('\n', first), text_.size()), next = skip_space(text_, end);
    if (next == text_.size() || text_[next] == '{') return false;
    int64_t depth = 0;
    Quotes quotes;
    for (size_t i = first; i < end; ++i)
      if (!quotes.holds(text_[i])) depth += change_of_depth(text_[i]);
    return depth > 0;
  }

  std::vector<Piece> lines() const {
    std::vector<Piece> pieces;
    each_line(text_, [&](size_t begin, size_t end) {
      if (skip_space(text_.substr(0, end), begin) < end) pieces.push_back({begin, end});
    });
    return pieces;
  }

  /// The elements of the array that opens at `open`, cut at its own commas. Each is parsed strictly afterwards.
  std::vector<Piece> elements(size_t open) {
    std::vector<Piece> pieces;
    size_t begin = open + 1;
    int64_t depth = 0;
    Quotes quotes;
    for (size_t i = open; i < text_.size(); ++i) {
      const char letter = text_[i];
      if (quotes.holds(letter)) continue;
      depth += change_of_depth(letter);
      if (depth == 0 || (depth == 1 && letter == ',')) {
        pieces.push_back({begin, i});
        begin = i + 1;
      }
      if (depth == 0) return closed(std::move(pieces), begin);
    }
    fail(open, "opens a list with [ that is not closed");
    return {};
  }

  std::vector<Piece> closed(std::vector<Piece> pieces, size_t after) {
    const size_t rest = skip_space(text_, after);
    if (rest < text_.size()) fail(rest, "follows the list; everything must be inside its [ ]");
    const bool empty = pieces.size() == 1 && skip_space(text_, pieces[0].begin) >= pieces[0].end;
    if (empty) fail(pieces[0].begin, "must hold at least one request, and the list is empty");
    return empty ? std::vector<Piece>() : pieces;
  }

  void read(const Piece& piece, std::vector<ManifestLine>& found) {
    constexpr size_t kLongest = 48 << 20;
    const size_t begin = std::min(skip_space(text_, piece.begin), piece.end);
    if (begin == piece.end) return fail(begin, "must be a request between two commas, and there is none");
    if (piece.end - begin > kLongest) return fail(begin, "must be at most 48 MiB");
    const int64_t line = line_of(begin);
    try {
      json fields = parse_object(text_.substr(begin, piece.end - begin));
      if (fields.is_object()) return found.push_back({line, std::move(fields)});
      fail(begin, "must be a JSON object of parameters, got " + shown(fields));
    } catch (const BrokenJson& broken) {
      tell(broken, begin + std::min(broken.byte, piece.end - begin), line);
    }
  }

  json parse_object(std::string_view text) {
    constexpr size_t kMostValues = 4'000'000;  // of the whole manifest: a value of two letters takes up a hundred bytes
    size_t count = 0;
    json fields = parse_json(
        text, {.bytes = text.size(), .depth = 8, .values = kMostValues - values_, .unique_names = true}, &count);
    values_ += count;
    return fields;
  }

  void tell(const BrokenJson& broken, size_t at, int64_t line) {
    const size_t newline = text_.substr(0, at).rfind('\n');
    const std::string column = std::to_string(newline == std::string_view::npos ? at + 1 : at - newline);
    const std::string name = shown(broken.name);
    switch (broken.kind) {
      case BrokenJson::Kind::Number:
        return fail(at, "must have numbers below 1.8e308, and has a larger one at column " + column);
      case BrokenJson::Kind::Deep:
        return fail(at, "must be a flat object, and is nested deeper than 8");
      case BrokenJson::Kind::Many:
        return fail(at, "must end before its 4,000,000th value; split it");
      case BrokenJson::Kind::Twice:
        return errors_.add(line,
                           {name.substr(1, name.size() - 2), "is given twice; once is enough", "value_error", "", ""});
      case BrokenJson::Kind::Large:
      case BrokenJson::Kind::Syntax:
        return fail(at, "must be a JSON object in UTF-8, and is broken at column " + column);
    }
  }

  std::string_view text_;
  LineErrors& errors_;
  size_t counted_ = 0;
  int64_t line_ = 1;
  size_t values_ = 0;
};

}  // namespace

void LineErrors::add(int64_t line, const FieldError& error) {
  errors_.emplace(line, error);
  if (errors_.size() > kMost) errors_.erase(std::prev(errors_.end()));
}

bool LineErrors::full_before(int64_t line) const {
  return errors_.size() >= kMost && errors_.rbegin()->first <= line;
}

std::vector<FieldError> LineErrors::list() const {
  std::vector<FieldError> list;
  for (const auto& [line, error] : errors_) {
    list.push_back(error);
    list.back().field = "line " + std::to_string(line) + (error.field.empty() ? "" : ", " + error.field);
  }
  return list;
}

std::vector<ManifestLine> manifest_lines(std::string text, LineErrors& errors) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  blank_comments(text);
  return Splitter(text, errors).run();
}

}  // namespace wan
