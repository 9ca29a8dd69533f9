#include "engine/job/expanded_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <utility>
#include <vector>

#include "engine/base/text.h"
#include "models/files/json.h"

namespace wan {
namespace {

using nlohmann::json;
using std::string;
using std::string_view;

constexpr JsonLimits kLimits{.bytes = 2 << 20, .depth = 32, .values = 200'000};
const string kHoldsTheKey = "its text holds the key";
constexpr size_t kMostToClean = 32 << 10;  // bytes without thoughts: cleaning takes time with the square of them

string lower(string_view text) {
  string out(text);
  for (char& c : out) c = char(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

void trim(string& text) {
  constexpr const char* kBlanks = " \t\r\n";
  text.erase(0, std::min(text.find_first_not_of(kBlanks), text.size()));
  text.resize(text.find_last_not_of(kBlanks) + 1);
}

void replace_all(string& text, string_view from, string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != string::npos; at += to.size()) text.replace(at, from.size(), to);
}

/// Whether it begins with one of them as whole words: "Sorry-looking" does not begin with "sorry".
template <size_t size>
bool begins(const string& text, const std::array<const char*, size>& words) {
  const string small = lower(text.substr(0, 64));
  return std::any_of(words.begin(), words.end(), [&](const string_view word) {
    if (!small.starts_with(word)) return false;
    const auto last = static_cast<unsigned char>(word.back());
    const auto next = static_cast<unsigned char>(small.size() > word.size() ? small[word.size()] : ' ');
    return !std::isalpha(last) || !(std::isalnum(next) || next == '-');
  });
}

constexpr std::array kAnnounces = {"here is",
                                   "here's",
                                   "here’s",
                                   "sure",
                                   "certainly",
                                   "of course",
                                   "okay",
                                   "ok,",
                                   "absolutely",
                                   "prompt:",
                                   "prompt：",
                                   "expanded prompt",
                                   "enhanced prompt",
                                   "rewritten prompt",
                                   "revised prompt",
                                   "video prompt",
                                   "final prompt",
                                   "output:",
                                   "answer:",
                                   "以下是",
                                   "好的",
                                   "提示词",
                                   "扩写",
                                   "改写",
                                   "优化后",
                                   "扩展后",
                                   "当然"};
constexpr std::array kRefusals = {"i'm sorry",    "i’m sorry",      "i am sorry",   "sorry",
                                  "i cannot",     "i can't",        "i can’t",      "i can not",
                                  "i am unable",  "i'm unable",     "i’m unable",   "i won't",
                                  "i won’t",      "i will not",     "i'm not able", "i am not able",
                                  "as an ai",     "i must decline", "i apologize",  "unfortunately, i",
                                  "抱歉",         "对不起",         "很抱歉",       "非常抱歉",
                                  "我无法",       "我不能",         "无法提供",     "作为一个人工智能",
                                  "作为人工智能", "作为ai",         "作为一个ai",   "作为一个语言模型"};
constexpr std::array kQuestions = {"could you",  "can you",   "please provide", "please share",     "please tell",
                                   "what would", "what kind", "i'd be happy",   "i would be happy", "i need more",
                                   "请提供",     "请问",      "请告诉"};
constexpr std::array kRemarks = {
    "let me know", "would you like",    "word count", "(word count", "note:",  "(note",  "feel free", "i hope",
    "this prompt", "is there anything", "字数",       "希望这",      "如果您", "如果你", "注："};

/// Whether a letter belongs to Chinese, Japanese or Korean, where no blanks stand between words.
bool is_cjk(char32_t c) {
  return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xAC00 && c <= 0xD7AF) || (c >= 0x20000 && c <= 0x2FA1F);
}

/// The next letter of well-formed UTF-8.
char32_t next_letter(string_view text, size_t& at) {
  const auto first = static_cast<unsigned char>(text[at++]);
  const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
  char32_t letter = more == 0 ? first : first & (0x3Fu >> more);
  for (int i = 0; i < more && at < text.size(); ++i)
    letter = letter << 6 | (static_cast<unsigned char>(text[at++]) & 0x3Fu);
  return letter;
}

/// Words, and each letter of languages without blanks.
std::vector<string> words_of(string_view text) {
  std::vector<string> words;
  string word;
  const auto end = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t letter = next_letter(text, at);
    if (letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r' || letter == 0x3000) {
      end();
    } else if (is_cjk(letter)) {
      end();
      words.emplace_back(text.substr(begin, at - begin));
    } else if (letter < 0x3001 || letter > 0x303F) {  // marks of Chinese are no words
      if (letter < 0xFF00 || letter > 0xFF65) word += text.substr(begin, at - begin);
    }
  }
  end();
  return words;
}

bool has_control(string_view text) {
  for (size_t at = 0; at < text.size();) {
    const char32_t letter = next_letter(text, at);
    const bool blank = letter == '\t' || letter == '\n' || letter == '\r';
    if ((letter < 0x20 && !blank) || (letter >= 0x7F && letter < 0xA0) || letter == 0xFFFD) return true;
  }
  return false;
}

/// "<div", "</p", "<!doctype", "<|im_end|": no prose has it.
bool has_markup(const string& text) {
  for (size_t at = 0; (at = text.find('<', at)) != string::npos && ++at < text.size();) {
    const auto after = static_cast<unsigned char>(text[at]);
    if (std::isalpha(after) || after == '/' || after == '!' || after == '|' || after == '?') return true;
  }
  return false;
}

/// False where nothing but thoughts came.
bool drop_thoughts(string& text) {
  for (const char* name : {"think", "thinking", "thought", "reasoning"}) {
    const string open = string("<") + name + ">", close = string("</") + name + ">";
    const size_t ended = text.rfind(close);
    if (ended != string::npos) text.erase(0, ended + close.size());  // some servers leave the beginning out
    if (text.find(open) != string::npos) return false;
  }
  return true;
}

/// What stands between the first two fences, where there are two.
void take_out_of_fence(string& text) {
  const size_t open = text.find("```");
  if (open == string::npos) return;
  const size_t line = text.find('\n', open), close = line == string::npos ? line : text.find("```", line);
  if (close != string::npos)
    text = text.substr(line + 1, close - line - 1);
  else
    replace_all(text, "```", "");
}

/// Where an announcement at the beginning ends: behind the colon of its line. 0: there is none.
size_t end_of_announcement(const string& text) {
  constexpr size_t kLongest = 160;
  if (!begins(text, kAnnounces)) return 0;
  const size_t line = std::min({text.find('\n'), text.size(), kLongest});
  const size_t plain = text.find(':'), wide = text.find("：");
  if (plain < line && plain < wide) return plain + 1;
  if (wide < line) return wide + string_view("：").size();
  // "Sure!" and a line of its own.
  const size_t whole = text.find('\n');
  return whole != string::npos && whole < 80 && whole + 1 < text.size() ? whole + 1 : 0;
}

void drop_quotes(string& text) {
  constexpr std::array<std::pair<string_view, string_view>, 8> kPairs = {
      {{"\"", "\""}, {"“", "”"}, {"'", "'"}, {"‘", "’"}, {"`", "`"}, {"「", "」"}, {"『", "』"}, {"«", "»"}}};
  for (const auto& [open, close] : kPairs) {
    if (text.size() < open.size() + close.size() || !text.starts_with(open) || !text.ends_with(close)) continue;
    const string inside = text.substr(open.size(), text.size() - open.size() - close.size());
    // Two quotations are not one.
    if (inside.find(close) != string::npos && open == close) continue;
    text = inside;
    return trim(text);
  }
}

/// One paragraph: without marks of lists and headings, and without remarks behind the text.
string joined_lines(const string& text) {
  string joined;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    string line = text.substr(at, end - at);
    at = end + 1;
    trim(line);
    while (!line.empty() && (line[0] == '#' || line[0] == '>')) line.erase(0, 1), trim(line);
    for (const char* mark : {"- ", "* ", "• "})
      if (line.starts_with(mark)) line.erase(0, string_view(mark).size());
    if (line.empty() || line == "---" || line == "***") continue;
    if (!joined.empty() && begins(line, kRemarks)) break;
    joined += (joined.empty() ? "" : " ") + line;
  }
  replace_all(joined, "**", "");
  replace_all(joined, "__", "");
  replace_all(joined, "\t", " ");
  while (joined.find("  ") != string::npos) replace_all(joined, "  ", " ");
  trim(joined);
  return joined;
}

ExpandedText refused(const string& why) {
  return {.text = {}, .wrong = why};
}

/// The text of a message: a string, or the texts of its parts.
string content_of(const json& content) {
  if (content.is_string()) return content.get<string>();
  string text;
  if (content.is_array())
    for (const json& part : content)
      if (part.is_object() && part.value("type", json("text")) == "text" && part.contains("text") &&
          part["text"].is_string())
        text += part["text"].get<string>();
  return text;
}

/// Whether a text tells a secret, with or without the marks and blanks that cleaning takes away.
bool holds(const string& text, const string& secret) {
  const auto bare = [](string without) {
    std::erase_if(without, [](char c) { return string_view("*_`#> \t\r\n").find(c) != string_view::npos; });
    return without;
  };
  const string needle = bare(secret);
  return !needle.empty() && bare(text).find(needle) != string::npos;
}

bool looks_like_html(string_view answer) {
  const string begin = lower(answer.substr(0, 256));
  const size_t at = begin.find_first_not_of(" \t\r\n");
  return at != string::npos && begin[at] == '<';
}

}  // namespace

size_t count_words(string_view text) {
  return words_of(text).size();
}

bool repeats(string_view text, string_view other) {
  constexpr size_t kRun = 10;
  const auto bare = [](string_view marked) {
    string plain = lower(marked);
    std::ranges::replace_if(
        plain, [](unsigned char c) { return c < 0x80 && std::ispunct(c); }, ' ');
    return words_of(plain);
  };
  const std::vector<string> words = bare(text), others = bare(other);
  if (words.size() < kRun || others.size() < kRun) return false;
  std::set<std::vector<string>> runs;
  const auto run_at = [](const std::vector<string>& all, size_t at) {
    return std::vector<string>(all.begin() + ptrdiff_t(at), all.begin() + ptrdiff_t(at + kRun));
  };
  for (size_t at = 0; at + kRun <= others.size(); ++at) runs.insert(run_at(others, at));
  for (size_t at = 0; at + kRun <= words.size(); ++at)
    if (runs.contains(run_at(words, at))) return true;
  return false;
}

ExpandedText cleaned_text(string text) {
  if (has_control(text)) return refused("its text has control characters");
  if (!drop_thoughts(text)) return refused("its text ends within its thoughts");
  trim(text);
  if (text.empty()) return refused("its text is empty");
  if (begins(text, kRefusals)) return refused("it refuses: " + shown(text, 100));
  if (text.size() > kMostToClean)
    return refused("its text has " + std::to_string(text.size()) + " bytes, at most " + std::to_string(kMostBytes) +
                   " are taken");
  take_out_of_fence(text);
  trim(text);
  for (int layer = 0; layer < 3; ++layer) {
    if (const size_t heading = text.find('\n'); text.starts_with("#") && heading != string::npos)
      text.erase(0, heading);
    trim(text);
    while (text.starts_with("*") || text.starts_with("#")) text.erase(0, 1), trim(text);
    const size_t end = end_of_announcement(text);
    if (end == 0) break;
    text.erase(0, end);
    trim(text);
  }
  text = joined_lines(text);
  drop_quotes(text);
  if (text.empty()) return refused("its text is empty");
  if (begins(text, kRefusals)) return refused("it refuses: " + shown(text, 100));
  if (begins(text, kQuestions)) return refused("it asks in place of describing: " + shown(text, 100));
  if (has_markup(text)) return refused("its text has markup: " + shown(text, 60));
  if (text[0] == '{' || text[0] == '[') return refused("its text is no prose: " + shown(text, 60));
  const std::vector<string> words = words_of(text);
  if (words.size() < kFewestWords)
    return refused("its text has " + std::to_string(words.size()) + " words, fewer than " +
                   std::to_string(kFewestWords) + ": " + shown(text, 60));
  if (words.size() > kMostWords || text.size() > kMostBytes)
    return refused("its text has " + std::to_string(words.size()) + " words and " + std::to_string(text.size()) +
                   " bytes, at most " + std::to_string(kMostWords) + " and " + std::to_string(kMostBytes) +
                   " are taken");
  const std::set<string> kinds(words.begin(), words.end());
  constexpr size_t kEnough = 40;
  if (words.size() >= kEnough && kinds.size() * 5 < words.size())
    return refused("its text repeats itself: " + shown(text, 60));
  return {.text = text, .wrong = {}};
}

ExpandedText expanded_text(string_view answer, const string& secret) {
  if (answer.empty()) return refused("its answer is empty");
  json body;
  try {
    body = parse_json(answer, kLimits);
  } catch (const BrokenJson&) {
    return refused(looks_like_html(answer) ? "its answer is a page of HTML, not JSON; the URL may be another program's"
                                           : "its answer is not JSON");
  }
  const string no_chat = "its answer is no chat of OpenAI's form: it has no choices[0].message";
  if (!body.is_object()) return refused(no_chat);
  const auto choices = body.find("choices");
  if (choices == body.end() || !choices->is_array() || choices->empty() || !choices->front().is_object())
    return refused(no_chat);
  const json& choice = choices->front();
  const auto message = choice.find("message");
  if (message == choice.end() || !message->is_object()) return refused(no_chat);
  const auto refusal = message->find("refusal");
  if (refusal != message->end() && refusal->is_string() && !refusal->get<string>().empty())
    return refused(holds(*refusal, secret) ? kHoldsTheKey : "it refuses: " + shown(*refusal, 100));
  const auto finish = choice.find("finish_reason");
  const string reason = finish != choice.end() && finish->is_string() ? finish->get<string>() : "";
  if (reason == "content_filter") return refused("it refuses: its filter took the text away");
  if (reason == "length") return refused("its text was cut off before its end");
  const auto content = message->find("content");
  const string text = content == message->end() ? "" : content_of(*content);
  return holds(text, secret) ? refused(kHoldsTheKey) : cleaned_text(text);
}

string told_error(string_view answer, const string& secret) {
  try {
    const json body = parse_json(answer, kLimits);
    if (!body.is_object()) return "";
    const auto error = body.find("error");
    const json* text = error != body.end() ? &*error : nullptr;
    if (text && text->is_object()) text = text->contains("message") ? &text->at("message") : nullptr;
    if (!text && body.contains("message")) text = &body.at("message");
    if (!text || !text->is_string()) return "";
    const string told = text->get<string>();
    if (holds(told, secret)) return "";
    return shown(told, 160);
  } catch (const BrokenJson&) {
    return "";
  }
}

}  // namespace wan
