#include "engine/request/prompt_syntax.h"

#include <algorithm>
#include <functional>

namespace wan {

namespace {

constexpr size_t kLongest = 200;  // of one bracket's content: what is longer is a sentence

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
  const auto anything = [](std::string_view) { return true; };
  const auto has_bar = [](std::string_view content) { return content.find('|') != std::string_view::npos; };
  std::vector<std::string> found;
  for (std::string_view example :
       {bracketed(prompt, "(", ")", ends_in_number), bracketed(prompt, "((", "))", anything),
        bracketed(prompt, "<", ">", names_model), bracketed(prompt, "[", "]", ends_in_number),
        bracketed(prompt, "{", "}", has_bar), bracketed(prompt, "[", "]", has_bar), embedding(prompt), flag(prompt),
        bracketed(prompt, "__", "__", is_name), alone(prompt, "BREAK"), alone(prompt, "AND")})
    if (!example.empty()) found.emplace_back(example.substr(0, 40));
  return found;
}

}  // namespace wan
