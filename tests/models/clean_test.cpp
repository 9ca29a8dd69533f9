// Every expected text was checked against ftfy 6.3.1 and html of Python 3.11.
#include "models/text/clean/clean.h"

#include <gtest/gtest.h>

#include <chrono>

namespace wan::text {
namespace {

struct Example {
  const char *name, *prompt, *cleaned;
};

const Example kExamples[] = {
    {"empty", "", ""},
    {"only_spaces", " \t\r\n\u3000\u00a0 ", ""},
    {"spaces", "  a \u2003\u00a0 b\u3000c\u0085d\u2028e  ", "a b c\u2026d e"},
    {"line_breaks", "a\r\nb\rc", "a b c"},
    {"entity", "&lt;b&gt; &eacute; &EACUTE; &hellip; &#233; &#x1F600;", "<b> \u00e9 \u00c9 \u2026 \u00e9 \U0001F600"},
    {"entity_nested", "&amp;amp;lt;", "<"},
    {"entity_twice", "&ampeacute &amp&amplt", "\u00e9 &<"},
    {"entity_without_semicolon", "fish &amp chips &notit; &copy2026", "fish & chips \u00acit; \u00a92026"},
    {"entity_not_in_markup_capitals", "<b> &EACUTE;", "<b> &EACUTE;"},
    {"markup_stops_later_lines", "&EACUTE;\n<\n&EACUTE;", "\u00c9 < &EACUTE;"},
    {"entity_windows_1252", "&#128; &#x99;", "\u20ac \u2122"},
    {"entity_out_of_range", "&#1114112; &#xD83D;", "\ufffd \ufffd"},
    {"entity_semicolon", "&#59; &unknown; &#; &;", "; &unknown; &#; &;"},
    {"mojibake", "l\u00c3\u00a9ger d\u00c3\u00a9jeuner", "l\u00e9ger d\u00e9jeuner"},
    {"mojibake_twice", "\u00c3\u0192\u00c2\u00a9t\u00c3\u0192\u00c2\u00a9", "\u00e9t\u00e9"},
    {"mojibake_lost_space", "voil\u00c3 le travail", "voil\u00e0 le travail"},
    {"mojibake_portuguese", "\u00c3 s vezes", "\u00e0s vezes"},
    {"mojibake_lossy", "\u00e2\u20ac\u0153 like this \u00e2\u20ac\ufffd", "\" like this \ufffd"},
    {"mojibake_inconsistent", "\u65e5\u672c \u00e2\u20ac\u0153caf\u00c3\u00a9", "\u65e5\u672c \"caf\u00e9"},
    {"mojibake_cyrillic", "\u0420\u045f\u0421\u0402\u0420\u0451\u0420\u0406\u0420\u00b5\u0421\u201a",
     "\u041f\u0440\u0438\u0432\u0435\u0442"},
    {"mojibake_surrogates", "\u00ed\u00a0\u00bd\u00ed\u00b8\u008d", "\U0001F60D"},
    {"not_mojibake", "\u00c5ngstr\u00f6m na\u00efve \u00bfqu\u00e9?", "\u00c5ngstr\u00f6m na\u00efve \u00bfqu\u00e9?"},
    {"c1_controls", "wait\u0085 \u0093so\u0094", "wait\u2026 \"so\""},
    {"ligatures", "\ufb02u\ufb03est \u01c6 \u0149", "fluffiest d\u017e 'n"},
    {"widths", "\uff2c\uff2f\uff35\uff24\u3000\uff8a\uff9f", "LOUD \u30d1"},
    {"quotes", "\u201chere\u2019s\u201d \u02bc", "\"here's\" '"},
    {"terminal_escapes", "\x1b[36;44mblue\x1b[0m \x1b[", "blue ["},
    {"controls",
     "a\x01\x0b\x7f\u206a\ufeff\ufffc"
     "b",
     "ab"},
    {"composed", "e\u0301 \u1100\u1161\u11a8", "\u00e9 \uac01"},
    {"younger_than_unicode_14", "\U0001E4EC\u0301\u0334", "\U0001E4EC\u0334\u0301"},
    {"joiners_stay", "\U0001F468\u200d\U0001F469", "\U0001F468\u200d\U0001F469"},
};

class CleanTest : public testing::TestWithParam<Example> {};

TEST_P(CleanTest, AsTheReference) {
  EXPECT_EQ(clean(GetParam().prompt), GetParam().cleaned);
}

INSTANTIATE_TEST_SUITE_P(Clean, CleanTest, testing::ValuesIn(kExamples),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Clean, RefusesWhatIsNotUtf8) {
  EXPECT_THROW(clean("caf\xe9"), std::invalid_argument);
}

TEST(Clean, KeepsNulOutOfTheText) {
  EXPECT_EQ(clean(std::string_view("a\0b", 3)), "ab");
}

TEST(Clean, NestedEntitiesEnd) {
  std::string nested = "&";
  for (int i = 0; i < 200; ++i) nested += "amp;";
  EXPECT_EQ(clean(nested), "&");
}

}  // namespace
}  // namespace wan::text
