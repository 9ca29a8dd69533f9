#include "models/text/clean/clean.h"

#include <unicode/uchar.h>

#include "models/files/utf8.h"
#include "models/text/clean/entities.h"
#include "models/text/clean/fix_text.h"

namespace wan::text {

std::string clean(std::string_view prompt) {
  const std::u32string text = unescape_html(unescape_html(fix_text(from_utf8(prompt))));
  std::u32string result;
  bool space = false;
  for (char32_t c : text) {
    if (u_isUWhiteSpace(static_cast<UChar32>(c))) {
      space = true;
      continue;
    }
    if (space && !result.empty()) result += U' ';
    space = false;
    result += c;
  }
  return to_utf8(result);
}

}  // namespace wan::text
