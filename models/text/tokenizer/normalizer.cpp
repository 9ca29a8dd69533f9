#include "models/text/tokenizer/normalizer.h"

#include <unicode/regex.h>
#include <unicode/uchar.h>

#include <memory>

#include "models/files/error.h"
#include "models/files/utf8.h"
#include "models/text/clean/normal_form.h"
#include "models/text/tokenizer/charsmap.h"
#include "models/text/tokenizer/fields.h"

namespace wan::text {
namespace {

constexpr int kDeepest = 8;                // sequences within sequences; published files have one
constexpr int32_t kRegexTimeLimit = 1000;  // in ICU's units, each about a millisecond: a hostile pattern ends

Normalizer read(const nlohmann::json& value, const std::string& where, int depth);

Normalizer read_sequence(Fields& fields, int depth) {
  if (depth == kDeepest) fields.fail("nests sequences deeper than " + std::to_string(kDeepest));
  std::vector<Normalizer> steps;
  for (const nlohmann::json& step : fields.list("normalizers"))
    steps.push_back(read(step, fields.where("normalizers[" + std::to_string(steps.size()) + "]"), depth + 1));
  return [steps = std::move(steps)](std::string text) {
    for (const Normalizer& step : steps) text = step(std::move(text));
    return text;
  };
}

Normalizer read_charsmap(Fields& fields) {
  const std::string where = fields.where("precompiled_charsmap");
  const std::optional<std::string> bytes = decode_base64(fields.text("precompiled_charsmap"));
  if (!bytes) throw ModelError(where, "must be base64; take the file of the checkpoint");
  auto map = std::make_shared<const Charsmap>(*bytes, where);
  return [map](const std::string& text) { return (*map)(text); };
}

Normalizer read_strip(Fields& fields) {
  const bool left = fields.flag("strip_left"), right = fields.flag("strip_right");
  return [left, right](const std::string& text) {
    const auto space = [](char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)); };
    std::u32string characters = from_utf8(text);
    size_t begin = 0, end = characters.size();
    while (left && begin < end && space(characters[begin])) ++begin;
    while (right && end > begin && space(characters[end - 1])) --end;
    return to_utf8(std::u32string_view(characters).substr(begin, end - begin));
  };
}

Normalizer replace_string(std::string pattern, std::string content) {
  return [pattern = std::move(pattern), content = std::move(content)](const std::string& text) {
    std::string result;
    size_t at = 0;
    for (size_t hit; (hit = text.find(pattern, at)) != text.npos; at = hit + pattern.size())
      result.append(text, at, hit - at).append(content);
    return result.append(text, at);
  };
}

Normalizer replace_regex(const std::string& pattern, const std::string& content, const std::string& where) {
  UErrorCode status = U_ZERO_ERROR;
  UParseError position;
  std::shared_ptr<const icu::RegexPattern> regex(
      icu::RegexPattern::compile(icu::UnicodeString::fromUTF8(pattern), position, status));
  if (U_FAILURE(status))
    throw ModelError(where, "must be a regular expression that ICU reads, is not; take the file of the checkpoint");
  const icu::UnicodeString replacement = icu::UnicodeString::fromUTF8(content);
  return [regex, replacement, where](const std::string& text) {
    UErrorCode status = U_ZERO_ERROR;
    const icu::UnicodeString given = icu::UnicodeString::fromUTF8(text);
    std::unique_ptr<icu::RegexMatcher> matcher(regex->matcher(given, status));
    if (U_SUCCESS(status)) matcher->setTimeLimit(kRegexTimeLimit, status);
    icu::UnicodeString result;
    int32_t at = 0;
    // By hand: ICU's own replaceAll would read `$` and `\` in the replacement.
    while (U_SUCCESS(status) && matcher->find(status)) {
      result.append(given, at, matcher->start(status) - at).append(replacement);
      at = matcher->end(status);
    }
    if (U_FAILURE(status))
      throw ModelError(where, "must be matched within a second, is not; take the file of the checkpoint");
    result.append(given, at, given.length() - at);
    std::string utf8;
    return result.toUTF8String(utf8);
  };
}

Normalizer read_replace(Fields& fields) {
  const std::string content = fields.text("content");
  Fields pattern = fields.object("pattern");
  const bool literal = pattern.take("String").is_string();
  const std::string text = pattern.text(literal ? "String" : "Regex");
  pattern.finish();
  if (text.empty()) fields.fail("pattern must not be empty");
  return literal ? replace_string(text, content) : replace_regex(text, content, fields.where("pattern.Regex"));
}

/// Each character by itself: a final sigma is not told from others. U+0130 alone becomes two.
std::string lower_case(const std::string& text) {
  std::u32string result;
  for (char32_t c : from_utf8(text)) {
    if (c == 0x130)
      result += U"i\u0307";
    else
      result += static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
  }
  return to_utf8(result);
}

Normalizer read(const nlohmann::json& value, const std::string& where, int depth) {
  Fields fields(value, where);
  const std::string type = fields.text("type");
  const auto form = [](NormalForm form) {
    return [form](const std::string& text) {
      return to_utf8(normal_form(from_utf8(text), form, UnicodeVersion::Tokenizers));
    };
  };
  Normalizer normalizer;
  if (type == "Sequence") normalizer = read_sequence(fields, depth);
  if (type == "Precompiled") normalizer = read_charsmap(fields);
  if (type == "Strip") normalizer = read_strip(fields);
  if (type == "Replace") normalizer = read_replace(fields);
  if (type == "NFC") normalizer = form(NormalForm::Nfc);
  if (type == "NFD") normalizer = form(NormalForm::Nfd);
  if (type == "NFKC") normalizer = form(NormalForm::Nfkc);
  if (type == "NFKD") normalizer = form(NormalForm::Nfkd);
  if (type == "Lowercase") normalizer = lower_case;
  if (type == "Prepend") {
    normalizer = [prefix = fields.text("prepend")](const std::string& text) {
      return text.empty() ? text : prefix + text;
    };
  }
  if (!normalizer)
    fields.fail(
        "must be a normalizer of type Sequence, Precompiled, Strip, Replace, NFC, NFD, NFKC, NFKD, Lowercase or "
        "Prepend, got " +
        printable(type));
  fields.finish();
  return normalizer;
}

}  // namespace

Normalizer read_normalizer(const nlohmann::json& value, const std::string& where) {
  if (value.is_null()) return [](std::string text) { return text; };
  return read(value, where, 0);
}

}  // namespace wan::text
