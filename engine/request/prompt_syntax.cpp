#include "engine/request/prompt_syntax.h"

#include <algorithm>
#include <functional>
#include <initializer_list>

namespace wan {

namespace {

constexpr size_t kLongest = 200;  // of one bracket's content: what is longer is a sentence
constexpr size_t kShown = 40;     // bytes of an example
constexpr std::string_view kOpen = "([{", kClose = ")]}";

bool is_number(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" +-"), text.size()));
  return !text.empty() && text.find_first_not_of("0123456789.") == std::string_view::npos &&
         text.find_first_of("0123456789") != std::string_view::npos;
}

/// Whether what stands behind the last colon is a number.
bool ends_in_number(std::string_view content) {
  const size_t colon = content.rfind(':');
  return colon != std::string_view::npos && colon > 0 && is_number(content.substr(colon + 1));
}

bool names_model(std::string_view content) {
  for (std::string_view kind : {"lora:", "lyco:", "hypernet:", "embedding:"})
    if (content.starts_with(kind)) return true;
  return false;
}

/// The first place where open and close stand around a content that is `wanted`, the brackets with it.
std::string_view bracketed(std::string_view prompt, std::string_view open, std::string_view close,
                           const std::function<bool(std::string_view)>& wanted) {
  for (size_t at = prompt.find(open); at != std::string_view::npos; at = prompt.find(open, at + 1)) {
    const size_t begin = at + open.size(), end = prompt.substr(0, begin + kLongest).find(close, begin);
    if (end == std::string_view::npos || end == begin) continue;
    const std::string_view content = prompt.substr(begin, end - begin);
    if (wanted(content)) return prompt.substr(at, end + close.size() - at);
  }
  return {};
}

/// How long the brackets from `at` on are, to the one that closes the first; 0 where none does, or nothing is in them.
size_t length_of_brackets(std::string_view prompt, size_t at) {
  std::string open;
  bool filled = false;
  const size_t end = std::min(at + kLongest, prompt.size());
  for (size_t here = at; here < end; ++here) {
    const char letter = prompt[here];
    if (kOpen.find(letter) != std::string_view::npos) {
      open += letter;
    } else if (const size_t kind = kClose.find(letter); kind == std::string_view::npos) {
      filled = filled || letter != ' ';
    } else {
      if (open.back() != kOpen[kind]) return 0;
      open.pop_back();
      if (open.empty()) return filled ? here + 1 - at : 0;
    }
  }
  return 0;
}

/// The first brackets that open right behind one another, "((word))", "[[word]]", "{{{word}}}", "[(word)]": no sentence
/// has them.
std::string_view nested(std::string_view prompt) {
  for (size_t at = prompt.find_first_of(kOpen); at != std::string_view::npos; at = prompt.find_first_of(kOpen, at)) {
    const size_t behind = std::min(prompt.find_first_not_of(kOpen, at), prompt.size());
    // The whole run, or the last two of it: "((( a" and "(((a))".
    for (const size_t begin : {at, behind - std::min<size_t>(behind - at, 2)})
      if (behind - begin >= 2)
        if (const size_t length = length_of_brackets(prompt, begin); length > 0) return prompt.substr(begin, length);
    at = behind;
  }
  return {};
}

/// Whether it is one or two words.
bool is_brief(std::string_view text) {
  return text.find_first_of("([{)]},.:;!?|") == std::string_view::npos &&
         std::count(text.begin(), text.end(), ' ') <= 1;
}

/// "[dark]" and "{dark}" as an item of a list, with commas around: a remark in a sentence, "he came [late] home", has
/// none.
std::string_view bracketed_item(std::string_view prompt, char open, char close) {
  for (size_t at = prompt.find(open); at != std::string_view::npos; at = prompt.find(open, at + 1)) {
    const size_t end = prompt.substr(0, at + kLongest).find(close, at);
    if (end == std::string_view::npos || end == at + 1 || !is_brief(prompt.substr(at + 1, end - at - 1))) continue;
    const size_t before = at == 0 ? std::string_view::npos : prompt.find_last_not_of(" \n", at - 1);
    const size_t behind = prompt.find_first_not_of(" \n", end + 1);
    const bool begins = before == std::string_view::npos, ends = behind == std::string_view::npos;
    if ((begins || prompt[before] == ',') && (ends || prompt[behind] == ',') && !(begins && ends))
      return prompt.substr(at, end + 1 - at);
  }
  return {};
}

/// The word by itself, in capitals.
std::string_view alone(std::string_view prompt, std::string_view word) {
  const auto is_edge = [&](size_t at) { return at >= prompt.size() || prompt[at] == ' ' || prompt[at] == '\n'; };
  for (size_t at = prompt.find(word); at != std::string_view::npos; at = prompt.find(word, at + 1))
    if ((at == 0 || is_edge(at - 1)) && is_edge(at + word.size())) return prompt.substr(at, word.size());
  return {};
}

/// "embedding:NAME": a word with this prefix.
std::string_view embedding(std::string_view prompt) {
  const size_t at = prompt.find("embedding:");
  if (at == std::string_view::npos || (at > 0 && prompt[at - 1] != ' ' && prompt[at - 1] != ',')) return {};
  const size_t end = std::min(prompt.find_first_of(" ,\n", at), prompt.size());
  return end > at + 10 ? prompt.substr(at, end - at) : std::string_view();
}

/// "--ar 16:9": a flag of other programs.
std::string_view flag(std::string_view prompt) {
  const size_t at = prompt.find(" --");
  if (at == std::string_view::npos || at + 3 >= prompt.size() || prompt[at + 3] < 'a' || prompt[at + 3] > 'z')
    return {};
  return prompt.substr(at + 1, std::min(prompt.find(' ', at + 1), prompt.size()) - at - 1);
}

bool is_name(std::string_view text) {
  return text.find_first_of(" \n_") == std::string_view::npos;
}

}  // namespace

std::vector<std::string> foreign_syntax(std::string_view prompt) {
  const auto has_bar = [](std::string_view content) { return content.find('|') != std::string_view::npos; };
  const std::initializer_list<std::string_view> examples = {bracketed(prompt, "(", ")", ends_in_number),
                                                            nested(prompt),
                                                            bracketed(prompt, "<", ">", names_model),
                                                            bracketed(prompt, "[", "]", ends_in_number),
                                                            bracketed(prompt, "{", "}", has_bar),
                                                            bracketed(prompt, "[", "]", has_bar),
                                                            bracketed_item(prompt, '[', ']'),
                                                            bracketed_item(prompt, '{', '}'),
                                                            embedding(prompt),
                                                            flag(prompt),
                                                            bracketed(prompt, "__", "__", is_name),
                                                            alone(prompt, "BREAK"),
                                                            alone(prompt, "AND")};
  std::vector<std::string> found;
  for (std::string_view example : examples) {
    // "((red:1.5))" is one notation, and so is what it holds.
    const bool held = std::any_of(examples.begin(), examples.end(), [&](std::string_view other) {
      return other.size() > example.size() && other.find(example) != std::string_view::npos;
    });
    if (!example.empty() && !held) found.emplace_back(example.substr(0, kShown));
  }
  return found;
}

}  // namespace wan
