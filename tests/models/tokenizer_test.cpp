// Small tokenizer.json files, each asking for one thing. The ids were checked against tokenizers 0.21.
#include "models/text/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "tests/support.h"

namespace wan::text {
namespace {

using nlohmann::json;
using Ids = std::vector<int64_t>;

json added_token(const char* content, int id) {
  json token =
      json::parse(R"({"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})");
  token["content"] = content;
  token["id"] = id;
  return token;
}

bool mentions(const std::string& message, const std::string& words) {
  return message.find(words) != message.npos;
}

/// A complete file with a vocabulary of fifteen pieces; tests change one thing in it.
json base() {
  json file = json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
    "post_processor": {
      "type": "TemplateProcessing",
      "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
      "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
      "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
    "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": false, "vocab": [
      ["<pad>", 0], ["</s>", 0], ["<s>", 0], ["<unk>", 0], ["\u2581", -2], ["a", -3], ["b", -3], ["ab", -3.5],
      ["\u2581a", -2.5], ["c", -4], ["<0xC3>", -9], ["<0xA9>", -9], ["aaa", -20], ["fi", -3], ["x", -3]]}})");
  file["added_tokens"] = json::array({added_token("<pad>", 0), added_token("</s>", 1), added_token("<unk>", 3)});
  return file;
}

class TokenizerTest : public testing::Test {
 protected:
  Tokenizer open(const std::string& content) {
    std::ofstream(folder_ / "tokenizer.json", std::ios::binary) << content;
    return Tokenizer::open(folder_.path());
  }
  std::vector<int64_t> ids(const json& file, std::string_view text) { return open(file.dump()).encode_cleaned(text); }
  std::string refusal(const std::string& content) {
    try {
      open(content);
    } catch (const ModelError& error) {
      return error.what();
    }
    return "accepted";
  }
  std::string refusal(const json& file) { return refusal(file.dump()); }

  TemporaryFolder folder_;
};

TEST_F(TokenizerTest, BestScoreWins) {
  EXPECT_EQ(ids(base(), "ab"), (Ids{4, 7, 1}));      // -2 - 3.5 equals -2.5 - 3: the first found stays
  EXPECT_EQ(ids(base(), "aaa"), (Ids{8, 5, 5, 1}));  // three pieces at -8.5 beat the long one
  EXPECT_EQ(ids(base(), "a b"), (Ids{8, 4, 6, 1}));
  EXPECT_EQ(ids(base(), ""), (Ids{1}));
}

TEST_F(TokenizerTest, UnknownCharactersFuse) {
  EXPECT_EQ(ids(base(), "a??b"), (Ids{8, 3, 6, 1}));
  EXPECT_EQ(ids(base(), "\u00e9\u00e9 \u00e9"), (Ids{4, 3, 4, 3, 1}));
}

TEST_F(TokenizerTest, ByteFallbackOnlyWhereAllBytesHavePieces) {
  json file = base();
  file["model"]["byte_fallback"] = true;
  EXPECT_EQ(ids(file, "\u00e9"), (Ids{4, 10, 11, 1}));
  EXPECT_EQ(ids(file, "\u00e9?"), (Ids{4, 3, 1}));
}

TEST_F(TokenizerTest, SpecialTokensAreCutOutFirst) {
  EXPECT_EQ(ids(base(), "a</s>b<unk>"), (Ids{8, 1, 4, 6, 3, 1}));
  json file = base();
  file["added_tokens"].push_back(added_token("<x>", 20));
  file["added_tokens"].push_back(added_token("<x>y", 21));
  EXPECT_EQ(ids(file, "<x>y<x>"), (Ids{21, 20, 1})) << "the longest counts";
}

TEST_F(TokenizerTest, AddedTokensHonourTheirFlags) {
  json file = base();
  json token = added_token("x", 14);
  token["single_word"] = true;
  file["added_tokens"] = json::array({token});
  EXPECT_EQ(ids(file, "x ax x"), (Ids{14, 8, 14, 4, 14, 1}));
  token["single_word"] = false;
  token["lstrip"] = token["rstrip"] = true;
  file["added_tokens"] = json::array({token});
  EXPECT_EQ(ids(file, "a  x  b"), (Ids{8, 14, 4, 6, 1}));
  token["normalized"] = true;
  token["content"] = "\ufb01";
  token["id"] = 20;
  file["added_tokens"] = json::array({token});
  file["normalizer"] = {{"type", "NFKC"}};
  EXPECT_EQ(ids(file, "a\ufb01"), (Ids{8, 20, 1}));
  EXPECT_EQ(ids(file, "afi"), (Ids{8, 20, 1})) << "content and text are both normalised";
}

TEST_F(TokenizerTest, PrependSchemes) {
  json file = base();
  const auto with = [&](json settings) {
    settings.update({{"type", "Metaspace"}, {"replacement", "\u2581"}});
    file["pre_tokenizer"] = settings;
    return ids(file, "b</s>b b");
  };
  EXPECT_EQ(with({{"prepend_scheme", "always"}}), (Ids{4, 6, 1, 4, 6, 4, 6, 1}));
  EXPECT_EQ(with({{"prepend_scheme", "first"}}), (Ids{4, 6, 1, 6, 4, 6, 1}));
  EXPECT_EQ(with({{"prepend_scheme", "never"}}), (Ids{6, 1, 6, 4, 6, 1}));
  EXPECT_EQ(with({{"add_prefix_space", true}}), (Ids{4, 6, 1, 4, 6, 4, 6, 1}));
  EXPECT_EQ(with({{"add_prefix_space", false}}), (Ids{6, 1, 6, 4, 6, 1}));
}

TEST_F(TokenizerTest, Normalizers) {
  json file = base();
  const auto with = [&](json normalizer, std::string_view text) {
    file["normalizer"] = std::move(normalizer);
    return ids(file, text);
  };
  const json spaces = {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", "\u2581"}};
  const json strip = {{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}};
  EXPECT_EQ(with({{"type", "Sequence"}, {"normalizers", {strip, spaces}}}, "a   b  "), (Ids{8, 4, 6, 1}));
  EXPECT_EQ(with({{"type", "Replace"}, {"pattern", {{"String", "c"}}}, {"content", "$0"}}, "acb"), (Ids{8, 3, 6, 1}));
  EXPECT_EQ(with({{"type", "Lowercase"}}, "AB"), (Ids{4, 7, 1}));
  EXPECT_EQ(with({{"type", "NFKC"}}, "\uff41\uff42"), (Ids{4, 7, 1}));
  EXPECT_EQ(with({{"type", "Prepend"}, {"prepend", "c"}}, "b"), (Ids{4, 9, 6, 1}));
}

// A map of one key, "a" to "b": units 0 (root), 'a' ^ 1, and the value behind it.
TEST_F(TokenizerTest, PrecompiledTakesTheWholeCluster) {
  std::string blob(4 + 4 * 256, '\0');
  const auto unit = [&blob](size_t index, uint32_t value) {
    for (int i = 0; i < 4; ++i) blob[4 + 4 * index + i] = static_cast<char>(value >> 8 * i);
  };
  blob[1] = 4;  // 1024 bytes of units
  unit(0, 1 << 10);
  unit(1 ^ 'a', 2 << 10 | 1 << 8 | 'a');
  unit((1 ^ 'a') ^ 2, 0);
  const auto base64 = [](const std::string& bytes) {
    constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (size_t at = 0; at < bytes.size(); at += 3) {
      uint32_t bits = 0;
      for (size_t i = 0; i < 3; ++i)
        bits = bits << 8 | (at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0);
      for (int i = 3; i >= 0; --i) text += kDigits[bits >> 6 * i & 63];
    }
    for (size_t i = 0; i < (3 - bytes.size() % 3) % 3; ++i) text[text.size() - 1 - i] = '=';
    return text;
  };
  json file = base();
  file["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", base64(blob + std::string("b\0", 2))}};
  EXPECT_EQ(ids(file, "ca"), (Ids{4, 9, 6, 1}));
  EXPECT_EQ(ids(file, "ca\u0301"), (Ids{4, 9, 6, 1})) << "the accent goes with the cluster";
  EXPECT_EQ(ids(file, "ca\u0301\u0301\u0301"), (Ids{4, 9, 6, 3, 1})) << "six bytes: character by character";

  unit(0, 0x3FFFu << 10);
  file["normalizer"]["precompiled_charsmap"] = base64(blob);
  EXPECT_THROW(ids(file, "a"), ModelError) << "the array points outside itself";
  for (const char* bad : {"", "AAA", "AAAA*AAA", "AAAAAA==", "////AAAA"}) {
    file["normalizer"]["precompiled_charsmap"] = bad;
    EXPECT_PRED2(mentions, refusal(file), "normalizer.precompiled_charsmap") << bad;
  }
}

TEST_F(TokenizerTest, CutsAtTheMostTokens) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "a ";
  const std::vector<int64_t> long_ids = ids(base(), text);
  EXPECT_EQ(std::ssize(long_ids), kMostTokens);
  EXPECT_EQ(long_ids.back(), 1);
  EXPECT_EQ(long_ids[kMostTokens - 2], 8);
}

TEST_F(TokenizerTest, PromptsAreCleanedFirst) {
  const Tokenizer tokenizer = open(base().dump());
  EXPECT_EQ(tokenizer.encode(" \uff41\uff42 "), (Ids{4, 7, 1}));
  EXPECT_THROW(tokenizer.encode("\xff"), std::invalid_argument);
  EXPECT_THROW(tokenizer.encode_cleaned("\xff"), std::invalid_argument);
}

TEST_F(TokenizerTest, WhatIsNotUnderstoodIsNamed) {
  const auto changed = [this](const char* pointer, json value) {
    json file = base();
    file[json::json_pointer(pointer)] = std::move(value);
    return refusal(file);
  };
  EXPECT_PRED2(mentions, changed("/normalizer", {{"type", "BertNormalizer"}}), "got BertNormalizer");
  EXPECT_PRED2(mentions, changed("/normalizer", {{"type", "NFC"}, {"extra", 1}}), "normalizer.\"extra\"");
  EXPECT_PRED2(mentions, changed("/pre_tokenizer/type", "Whitespace"), "got Whitespace");
  EXPECT_PRED2(mentions, changed("/pre_tokenizer/prepend_scheme", "sometimes"), "got sometimes");
  EXPECT_PRED2(mentions, changed("/pre_tokenizer", nullptr), "pre_tokenizer");
  EXPECT_PRED2(mentions, changed("/post_processor/type", "BertProcessing"), "got BertProcessing");
  EXPECT_PRED2(mentions, changed("/post_processor/special_tokens", json::object()), "special_tokens.</s>");
  EXPECT_PRED2(mentions, changed("/model/type", "BPE"), "got BPE");
  EXPECT_PRED2(mentions, changed("/model/dropout", 0.1), "dropout");
  EXPECT_PRED2(mentions, changed("/new_part", 1), "new_part");
  EXPECT_PRED2(mentions, changed("/version", "2.0"), "got 2.0");
  EXPECT_PRED2(mentions, changed("/truncation", {{"direction", "Left"}}), "got Left");
  EXPECT_PRED2(mentions, changed("/normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", ""}}),
               "pattern.Regex");
  EXPECT_PRED2(mentions, changed("/normalizer", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", ""}}),
               "must not be empty");
}

TEST_F(TokenizerTest, DamagedFilesAreRefused) {
  const auto changed = [this](const char* pointer, json value) {
    json file = base();
    file[json::json_pointer(pointer)] = std::move(value);
    return refusal(file);
  };
  EXPECT_PRED2(mentions, refusal(std::string("{\"version\" 1}")), "must be JSON, breaks at byte 12");
  EXPECT_PRED2(mentions, refusal(std::string("{\"version\": ")), "its JSON breaks off after 12 bytes");
  EXPECT_PRED2(mentions, refusal(std::string("[]")), "must be an object");
  EXPECT_PRED2(mentions, refusal(std::string(20'000'000, '[')), "at most 24 levels, is nested deeper");
  EXPECT_PRED2(mentions, refusal(std::string("{\"version\": 1e999}")), "numbers below 1.8e308");
  EXPECT_PRED2(mentions, changed("/model/vocab", nullptr), "model.vocab] must be a list, got null");
  EXPECT_PRED2(mentions, changed("/model/vocab", json::array()), "unk_id");
  EXPECT_PRED2(mentions, changed("/model/vocab/4", json::array({"a"})), "vocab[4]");
  EXPECT_PRED2(mentions, changed("/model/unk_id", 15), "unk_id");
  EXPECT_PRED2(mentions, changed("/model/unk_id", nullptr), "unk_id");
  EXPECT_PRED2(mentions, changed("/added_tokens/0/id", -1), "added_tokens[0].id");
  EXPECT_PRED2(mentions, changed("/added_tokens/0/id", 7), "must have the id of its piece");
  json nested = {{"type", "NFC"}};
  for (int i = 0; i < 9; ++i) nested = {{"type", "Sequence"}, {"normalizers", json::array({nested})}};
  EXPECT_PRED2(mentions, changed("/normalizer", nested), "deeper than 8");
}

TEST_F(TokenizerTest, HostilePatternsEnd) {
  json file = base();
  file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "(a+)+$"}}}, {"content", ""}};
  EXPECT_THROW(ids(file, std::string(2000, 'a') + "b"), ModelError);
}

TEST_F(TokenizerTest, FoldersWithoutAFile) {
  try {
    Tokenizer::open(folder_.path());
    FAIL() << "accepted";
  } catch (const ModelError& error) {
    EXPECT_PRED2(mentions, error.what(), "tokenizer.json or spiece.model");
  }
}

TEST_F(TokenizerTest, SentencepieceAlone) {
  const std::filesystem::path nano =
      std::filesystem::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano/google/umt5-xxl";
  std::filesystem::copy_file(nano / "spiece.model", folder_ / "spiece.model");
  const Tokenizer alone = Tokenizer::open(folder_.path()), whole = Tokenizer::open(nano);
  for (const char* prompt : {"", "a red circle moves to the right on a black background", "Two  cats here."})
    EXPECT_EQ(alone.encode(prompt), whole.encode(prompt)) << prompt;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "a ";
  EXPECT_EQ(std::ssize(alone.encode(text)), kMostTokens);

  std::string model(std::filesystem::file_size(nano / "spiece.model"), '\0');
  std::ifstream(nano / "spiece.model", std::ios::binary).read(model.data(), std::streamsize(model.size()));
  for (const std::string& bad : {std::string("\xff\xfe no model"), model.substr(0, model.size() / 2)}) {
    std::ofstream(folder_ / "spiece.model", std::ios::binary) << bad;
    try {
      Tokenizer::open(folder_.path());
      ADD_FAILURE() << "accepted " << bad.size() << " bytes";
    } catch (const ModelError& error) {
      EXPECT_STREQ(error.what(),
                   "[spiece.model] must be a sentencepiece model, is damaged or another; download it again");
    }
  }
}

}  // namespace
}  // namespace wan::text
