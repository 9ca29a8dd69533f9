// A prompt as the text encoder was trained to read it: mojibake, entities, widths, quotes and spaces put in order.
// Follows wan/modules/tokenizers.py, basic_clean and whitespace_clean.
#pragma once

#include <string>
#include <string_view>

namespace wan::text {

/// ftfy.fix_text (6.3.1, default settings), html.unescape twice, and each run of white space as one space, none at the
/// ends. Throws std::invalid_argument where the prompt is not UTF-8 (see check_utf8).
std::string clean(std::string_view prompt);

}  // namespace wan::text
