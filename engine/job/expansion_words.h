// What a language model is asked for: our own texts, by task and by the language of the prompt.
#pragma once

#include <string>
#include <string_view>

#include "engine/request/request.h"

namespace wan {

enum class Language { English, Chinese };

/// Chinese where at least half of the prompt's letters are Chinese and none is Japanese, else English: what the text
/// encoder was trained to read.
Language language_of(std::string_view prompt);

/// The system text: what is to be written, and how. `pictures`: how many go with the prompt, 0, 1 or 2 (the last frame,
/// too). Of t2v, i2v and v2v.
std::string system_text(Task task, Language language, int pictures);

/// What the user says: the prompt, as it was given.
std::string user_text(const std::string& prompt, Language language);

}  // namespace wan
