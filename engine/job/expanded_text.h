// From what a language server answers to a prompt that can be used, or to why there is none. The answer is a stranger's.
#pragma once

#include <string>
#include <string_view>

namespace wan {

/// One of the two is empty.
struct ExpandedText {
  std::string text;   // one paragraph, well-formed UTF-8 without control characters
  std::string wrong;  // "its answer is not JSON": why it cannot be used, in one line
};

/// Bounds of what is taken. A Chinese character counts as a word.
inline constexpr size_t kFewestWords = 10, kMostWords = 400, kMostBytes = 4000;

/// The text of a chat's answer (OpenAI's chat.completion): choices[0].message.content, a string or a list of parts. What
/// models put around a text is taken away: their thoughts in <think>, fences, a line that announces it, quotes, Markdown,
/// remarks behind it. Refused are refusals, questions, markup, text that was cut off, that repeats itself or that has too
/// few or too many words, and one that holds `secret` (empty: none), the key that the server was asked with.
ExpandedText expanded_text(std::string_view answer, const std::string& secret = {});

/// The same of the text alone, as a model wrote it.
ExpandedText cleaned_text(std::string content);

/// Whether ten words of a text stand in another one in the same order, whatever marks are between them: small models give
/// back what they were told.
bool repeats(std::string_view text, std::string_view other);

/// How many words a text has: runs of other letters than blanks, and each Chinese character.
size_t count_words(std::string_view text);

/// What an answer that is an error says of itself ({"error": {"message": ...}}), quoted and cut; empty where it is not
/// told, or where it holds `secret`.
std::string told_error(std::string_view answer, const std::string& secret);

}  // namespace wan
