// What GCC 12 destroys twice in coroutines, looked for in the server's sources: a `co_await` within the braces of an
// aggregate, and a closure with captures by value that is a temporary of an expression with `co_await`. Both are to have
// names before it. The code is clang-formatted: braces of a body have a blank before them, those of a value have none.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

bool is_word(char letter) {
  return std::isalnum(static_cast<unsigned char>(letter)) || letter == '_';
}

/// The same text with blanks in place of comments and of what stands within quotes.
std::string without_words(std::string text) {
  const auto blank = [&](size_t from, size_t to) {
    for (size_t i = from; i < std::min(to, text.size()); ++i)
      if (text[i] != '\n') text[i] = ' ';
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = std::string_view(text).substr(i);
    if (rest.starts_with("//")) {
      const size_t end = std::min(text.find('\n', i), text.size());
      blank(i, end);
      i = end;
    } else if (rest.starts_with("R\"")) {
      const size_t open = text.find('(', i);
      const std::string close = ")" + text.substr(i + 2, open - i - 2) + "\"";
      const size_t end = std::min(text.find(close, open), text.size() - close.size()) + close.size();
      blank(i, end);
      i = end - 1;
    } else if (text[i] == '"' || (text[i] == '\'' && (i == 0 || !is_word(text[i - 1])))) {
      const char quote = text[i];
      size_t end = i + 1;
      while (end < text.size() && text[end] != quote) end += text[end] == '\\' ? 2 : 1;
      blank(i + 1, end);
      i = end;
    }
  }
  return text;
}

/// Whether the brace at `at` begins a value and no body.
bool is_value(std::string_view text, size_t at) {
  if (at == 0) return false;
  if (is_word(text[at - 1]) || text[at - 1] == '>' || text[at - 1] == '{') return true;
  const size_t before = text.find_last_not_of(" \n", at - 1);
  if (before == text.npos) return false;
  if (std::string_view("=(,").find(text[before]) != std::string_view::npos) return true;
  return text.substr(0, before + 1).ends_with("return");
}

/// Where the brace that is open at `at` began; npos where none is.
size_t open_brace(std::string_view text, size_t at) {
  int closed = 0;
  while (at-- > 0) {
    if (text[at] == '}') ++closed;
    if (text[at] == '{' && closed-- == 0) return at;
  }
  return text.npos;
}

size_t behind_body(std::string_view text, size_t at) {
  for (int depth = 0; at < text.size(); ++at) {
    if (text[at] == '{') ++depth;
    if (text[at] == '}' && --depth == 0) break;
  }
  return at;
}

/// Whether a list of captures has one that is kept in the closure.
bool keeps_values(std::string_view captures) {
  std::istringstream list{std::string(captures)};
  for (std::string one; std::getline(list, one, ',');) {
    one.erase(0, one.find_first_not_of(" \n"));
    if (!one.empty() && one[0] != '&' && one != "this") return true;
  }
  return false;
}

/// Whether the expression that goes on at `at`, behind a co_await, has a closure that keeps values.
bool has_closure(std::string_view text, size_t at) {
  for (int depth = 0; at < text.size() && text[at] != ';'; ++at) {
    if (text[at] == '(') ++depth;
    if (text[at] == ')' && depth-- == 0) return false;
    if (text[at] == '{' && !is_value(text, at)) at = behind_body(text, at);
    const bool begins = at > 0 && at < text.size() && text[at] == '[' && !is_word(text[at - 1]) &&
                        std::string_view(")]").find(text[at - 1]) == std::string_view::npos;
    if (begins && keeps_values(text.substr(at + 1, text.find(']', at) - at - 1))) return true;
  }
  return false;
}

/// Lines with what GCC 12 gets wrong.
std::vector<size_t> wrong_lines(const std::string& source) {
  const std::string text = without_words(source);
  constexpr std::string_view kAwait = "co_await";
  std::vector<size_t> lines;
  for (size_t at = text.find(kAwait); at != text.npos; at = text.find(kAwait, at + 1)) {
    const size_t brace = open_brace(text, at);
    if ((brace != text.npos && is_value(text, brace)) || has_closure(text, at + kAwait.size()))
      lines.push_back(1 + size_t(std::count(text.begin(), text.begin() + std::ptrdiff_t(at), '\n')));
  }
  return lines;
}

TEST(CoroutineRule, IsKeptInTheServer) {
  int files = 0, awaits = 0;
  for (const auto& entry : fs::recursive_directory_iterator(WAN_SOURCE_DIR "/engine/serve")) {
    if (entry.path().extension() != ".cpp" && entry.path().extension() != ".h") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    ++files;
    awaits += text.str().find("co_await") != std::string::npos;
    for (const size_t line : wrong_lines(text.str()))
      ADD_FAILURE() << entry.path().string() << ":" << line
                    << ": give the value or the closure a name before co_await (docs/architecture.md)";
  }
  EXPECT_GT(files, 100);
  EXPECT_GT(awaits, 20);
}

// The test of the test.
TEST(CoroutineRule, SeesWhatIsWrongAndNothingElse) {
  for (const char* wrong : {
           "Task f() {\n  const Answer answer{.body = co_await read()};\n}",
           "Task f() {\n  co_return Submitted{co_await submit(), true};\n}",
           "Task f() {\n  use({co_await one(), 2});\n}",
           "Task f() {\n  const std::vector<int> all = {co_await one()};\n}",
           "Task f() {\n  co_await pool.run([text] { use(text); });\n}",
           "Task f() {\n  co_await pool.run([&a, text = std::move(text)] { use(text); });\n}",
           "Task f() {\n  const int x = co_await pool.run(1, [=] { return y; });\n}",
       })
    EXPECT_EQ(wrong_lines(wrong), std::vector<size_t>{2}) << wrong;
  for (const char* right : {
           "Task f() {\n  co_await pool.run([&] { use(text); });\n}",
           "Task f() {\n  co_await pool.run([this, &text] { use(text); });\n}",
           "Task f() {\n  if (!co_await read()) co_return false;\n  auto work = [text] { use(text); };\n}",
           "Task f() {\n  auto later = [state]() -> Task<void> { co_await state->run(); };\n}",
           "Task f() {\n  const int size = sizes[co_await index()];\n  // Answer{co_await x()}\n}",
           "Task f() {\n  say(\"Answer{co_await x()}\");\n  for (;;) {\n    co_await go();\n  }\n}",
           "Task f() const noexcept {\n  try {\n    co_await go(table[i], Point{1, 2});\n  } catch (...) {\n  }\n}",
       })
    EXPECT_EQ(wrong_lines(right), std::vector<size_t>{}) << right;
}

}  // namespace
