// Notations of other programs in prompts. The text encoder reads them as words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// The first example of each notation that stands in the prompt, at most 40 bytes of it: weights "(word:1.5)", brackets
/// right behind one another "((word))", "[[word]]", "{{word}}", models "<lora:name:1>", changes "[from:to:0.5]",
/// choices "{a|b}", one or two words in brackets "[word]" between commas, files "__name__", and the words BREAK and
/// AND. Other brackets are remarks, as in ordinary text.
std::vector<std::string> foreign_syntax(std::string_view prompt);

}  // namespace wan
