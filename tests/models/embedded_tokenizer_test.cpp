// Tokenizers from the bytes of a sentencepiece model and from the metadata of a GGUF file, against tokenizer.json.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "models/files/error.h"
#include "models/text/tokenizer/charsmap.h"
#include "models/text/tokenizer/embedded.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kTokenizer = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano/google/umt5-xxl";

/// The prompts of the golden case with their names, which the same tokenizer.json has been asked for.
std::vector<std::pair<std::string, std::string>> prompts() {
  std::vector<std::pair<std::string, std::string>> all;
  const json golden = json::parse(content_of(fs::path(WAN_SOURCE_DIR) / "tests/golden/cases/tokenizer.json"));
  for (const json& row : golden.at("sets").at("Wan2.2-T2V-A14B")) all.emplace_back(row.at("name"), row.at("prompt"));
  EXPECT_GT(all.size(), 40u);
  return all;
}

/// Little-endian values one behind the other.
class Bytes {
 public:
  template <typename T>
  Bytes& add(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& text(std::string_view text) {
    add<uint64_t>(text.size());
    bytes_ += text;
    return *this;
  }
  const std::string& get() const { return bytes_; }

 private:
  std::string bytes_;
};

/// Entries of tokenizer.ggml, each with its type and value as the file has them.
class Gguf {
 public:
  static constexpr uint32_t kUint8 = 0, kUint32 = 4, kInt32 = 5, kFloat = 6, kBool = 7, kString = 8, kArray = 9;

  Gguf& entry(const std::string& key, uint32_t type, const std::string& value) {
    entries_[key] = {type, value};
    return *this;
  }
  template <typename T>
  Gguf& list(const std::string& key, uint32_t type, const std::vector<T>& values) {
    Bytes bytes;
    bytes.add(type).add<uint64_t>(values.size());
    for (const T& value : values) {
      if constexpr (std::is_same_v<T, std::string>)
        bytes.text(value);
      else
        bytes.add(value);
    }
    return entry(key, kArray, bytes.get());
  }
  Gguf& without(const std::string& key) {
    entries_.erase(key);
    return *this;
  }
  /// A file with these entries and no tensor.
  void write(const fs::path& path) const {
    std::ofstream file(path, std::ios::binary);
    Bytes bytes;
    bytes.add<uint32_t>(3).add<uint64_t>(0).add<uint64_t>(entries_.size());
    file << "GGUF" << bytes.get();
    for (const auto& [key, value] : entries_)
      file << Bytes().text("tokenizer.ggml." + key).add(value.first).get() << value.second;
  }

 private:
  std::map<std::string, std::pair<uint32_t, std::string>> entries_;
};

/// The text of a piece, and its kind as the file has it.
using TextAndKind = std::pair<std::string, int32_t>;

/// The pieces of tokenizer.json as llama.cpp's conversion writes them, filled up to 1,300. `last`: the last one instead
/// of what fills up.
Gguf of_tokenizer_json(const std::optional<TextAndKind>& last = std::nullopt) {
  const json file = json::parse(content_of(kTokenizer / "tokenizer.json"));
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> kinds;
  for (const json& entry : file.at("model").at("vocab")) {
    tokens.push_back(entry[0]);
    scores.push_back(entry[1]);
    kinds.push_back(tokens.back().starts_with("<0x") ? 6 : 1);
  }
  for (const json& token : file.at("added_tokens")) kinds.at(token.at("id")) = token.at("content") == "<unk>" ? 2 : 3;
  for (size_t id = tokens.size(); id < 1300; ++id) {
    tokens.push_back("[PAD" + std::to_string(id) + "]");
    scores.push_back(-10000);
    kinds.push_back(5);
  }
  if (last) std::tie(tokens.back(), kinds.back()) = *last;
  const std::string map =
      decode_base64(file.at("normalizer").at("normalizers").at(0).at("precompiled_charsmap").get<std::string>())
          .value();
  Gguf gguf;
  gguf.entry("model", Gguf::kString, Bytes().text("t5").get())
      .list("tokens", Gguf::kString, tokens)
      .list("scores", Gguf::kFloat, scores)
      .list("token_type", Gguf::kInt32, kinds)
      .list("precompiled_charsmap", Gguf::kUint8, std::vector<uint8_t>(map.begin(), map.end()))
      .entry("add_space_prefix", Gguf::kBool, "\1")
      .entry("remove_extra_whitespaces", Gguf::kBool, "\1")
      .entry("eos_token_id", Gguf::kUint32, Bytes().add<uint32_t>(1).get());
  return gguf;
}

class EmbeddedTokenizerTest : public testing::Test {
 protected:
  std::optional<EmbeddedTokenizer> of(const Gguf& gguf) {
    gguf.write(folder_ / "encoder.gguf");
    return embedded_tokenizer(Checkpoint::open(folder_ / "encoder.gguf"));
  }
  std::string refusal_of(const Gguf& gguf) {
    return refusal_by([&] { of(gguf); });
  }
  TemporaryFolder folder_;
};

TEST_F(EmbeddedTokenizerTest, ASentencepieceModelGivesTheIdsOfTheJson) {
  const Tokenizer whole = Tokenizer::open(kTokenizer),
                  alone = Tokenizer::from(content_of(kTokenizer / "spiece.model"), "model");
  int compared = 0;
  for (const auto& [name, prompt] : prompts()) {
    if (prompt.find("<extra_id_") != prompt.npos) continue;  // pieces that the model does not have
    EXPECT_EQ(alone.encode(prompt), whole.encode(prompt)) << name;
    ++compared;
  }
  EXPECT_GT(compared, 40);
}

TEST_F(EmbeddedTokenizerTest, AsATensorOfTheEncodersFile) {
  const std::string model = content_of(kTokenizer / "spiece.model");
  const at::Tensor bytes = at::empty({std::ssize(model)}, at::kByte);
  std::copy(model.begin(), model.end(), static_cast<char*>(bytes.mutable_data_ptr()));
  write_safetensors(folder_ / "encoder.safetensors", {{"shared.weight", at::zeros({2, 2})}, {"spiece_model", bytes}});
  const auto found = embedded_tokenizer(Checkpoint::open(folder_ / "encoder.safetensors"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->source.assumed, "");
  EXPECT_EQ(found->tokenizer.encode("a red circle"), Tokenizer::open(kTokenizer).encode("a red circle"));

  write_safetensors(folder_ / "none.safetensors", {{"shared.weight", at::zeros({2, 2})}});
  EXPECT_FALSE(embedded_tokenizer(Checkpoint::open(folder_ / "none.safetensors")));
  EXPECT_FALSE(tokenizer_source(Checkpoint::open(folder_ / "none.safetensors")));
  write_safetensors(folder_ / "floats.safetensors", {{"spiece_model", at::zeros({2, 2})}});
  EXPECT_EQ(tokenizer_source(Checkpoint::open(folder_ / "floats.safetensors"))->from, "the tensor spiece_model")
      << "from the header alone";
  EXPECT_NE(refusal_by([&] {
              embedded_tokenizer(Checkpoint::open(folder_ / "floats.safetensors"));
            }).find("spiece_model] must be the bytes"),
            std::string::npos);
}

TEST_F(EmbeddedTokenizerTest, AGgufFileGivesTheIdsOfTheJson) {
  const Tokenizer whole = Tokenizer::open(kTokenizer);
  const auto found = of(of_tokenizer_json());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->source.assumed, "");
  for (const auto& [name, prompt] : prompts()) EXPECT_EQ(found->tokenizer.encode(prompt), whole.encode(prompt)) << name;
  EXPECT_EQ(found->tokenizer.encode_cleaned("[PAD1290]"), whole.encode_cleaned("[PAD1290]")) << "no piece of a text";
  EXPECT_EQ(found->tokenizer.encode_cleaned("  two  spaces "), whole.encode_cleaned("  two  spaces "));
}

TEST_F(EmbeddedTokenizerTest, SettingsOfAGgufFileCount) {
  const auto ids = [&](const Gguf& gguf, const char* text) { return of(gguf)->tokenizer.encode_cleaned(text); };
  const Gguf whole = of_tokenizer_json();
  const auto plain = ids(whole, "the");
  EXPECT_NE(ids(Gguf(whole).entry("add_space_prefix", Gguf::kBool, std::string(1, '\0')), "the"), plain);
  EXPECT_EQ(ids(Gguf(whole).without("add_space_prefix"), "the"), plain) << "the default";
  EXPECT_NE(ids(Gguf(whole).entry("remove_extra_whitespaces", Gguf::kBool, std::string(1, '\0')), "a   a"),
            ids(whole, "a   a"));
  EXPECT_EQ(ids(Gguf(whole).entry("eos_token_id", Gguf::kUint32, Bytes().add<uint32_t>(7).get()), "").back(), 7);
  const auto older = of(Gguf(whole).without("precompiled_charsmap"));
  EXPECT_NE(older->source.assumed.find("NFKC"), std::string::npos);
  EXPECT_EQ(older->tokenizer.encode_cleaned("\uff54\uff48\uff45"), plain) << "full width";
}

// A piece of the user is looked for in the text as it is, whatever its score. Its space tells the two kinds apart: in
// an ordinary piece a space stands as a mark, so that this one would never be found.
TEST_F(EmbeddedTokenizerTest, PiecesOfTheUserAreFoundInTheTextAsItIs) {
  constexpr int32_t kOrdinary = 1, kOfTheUser = 4;
  const auto ids = [&](int32_t kind, const char* text) {
    return of(of_tokenizer_json(TextAndKind("two words", kind)))->tokenizer.encode_cleaned(text);
  };
  EXPECT_EQ(ids(kOfTheUser, "two words"), (std::vector<int64_t>{1299, 1}));
  EXPECT_EQ(ids(kOfTheUser, "two wordstwo words"), (std::vector<int64_t>{1299, 1299, 1}));
  const auto count = [](const std::vector<int64_t>& all) { return std::count(all.begin(), all.end(), 1299); };
  EXPECT_EQ(count(ids(kOfTheUser, "a two words b")), 1);
  EXPECT_EQ(count(ids(kOfTheUser, "a two  words b")), 0) << "two spaces are another text";
  EXPECT_EQ(count(ids(kOrdinary, "a two words b")), 0);
  // The same of a sentencepiece model: <unk>, </s>, which ends a text, and the user's "a b".
  const std::string model =
      "\x0a\x09\x0a\x05<unk>\x18\x02"
      "\x0a\x06\x0a\x04</s>"
      "\x0a\x07\x0a\x03"
      "a b\x18\x04"
      "\x12\x03\xd0\x02\x01";
  EXPECT_EQ(Tokenizer::from(model, "model").encode_cleaned("a b"), (std::vector<int64_t>{2, 1}));
}

TEST_F(EmbeddedTokenizerTest, OtherMetadataAreNamed) {
  const Gguf whole = of_tokenizer_json();
  EXPECT_FALSE(of(Gguf(whole).without("model"))) << "no tokenizer";
  const auto mentions = [&](const Gguf& gguf, const std::string& words) {
    const std::string text = refusal_of(gguf);
    EXPECT_NE(text.find(words), text.npos) << text;
  };
  mentions(Gguf(whole).entry("model", Gguf::kString, Bytes().text("llama").get()), "tokenizer.ggml.model] must be t5");
  mentions(Gguf(whole).entry("model", Gguf::kBool, "\1"), "tokenizer.ggml.model] must be of its usual type");
  mentions(Gguf(whole).without("scores"), "tokenizer.ggml.scores] must be there");
  mentions(Gguf(whole).list("scores", Gguf::kFloat, std::vector<float>(1299)),
           "as long as tokenizer.ggml.tokens (1300)");
  mentions(Gguf(whole).list("scores", Gguf::kInt32, std::vector<int32_t>(1300)), "a list of another type");
  mentions(Gguf(whole).list("token_type", Gguf::kInt32, std::vector<int32_t>(1300, 7)), "from 1 to 6");
  mentions(Gguf(whole).list("token_type", Gguf::kInt32, std::vector<int32_t>(1300, 1)), "has 0");
  mentions(Gguf(whole).list("token_type", Gguf::kInt32, std::vector<int32_t>(1300, 2)), "has 1300");
  mentions(Gguf(whole).list("scores", Gguf::kFloat, std::vector<float>(1300, NAN)), "finite score for piece 0");
  mentions(Gguf(whole).list("tokens", Gguf::kString, std::vector<std::string>(1300, "\xff")), "UTF-8 for piece 0");
  mentions(Gguf(whole).entry("eos_token_id", Gguf::kUint32, Bytes().add<uint32_t>(1300).get()), "says that it is 1300");
  mentions(Gguf(whole).list("precompiled_charsmap", Gguf::kUint8, std::vector<uint8_t>(7, 255)),
           "precompiled_charsmap");
  mentions(Gguf(whole).list("tokens", Gguf::kUint8, std::vector<uint8_t>((1 << 20) + 1)), "tokenizer.ggml.tokens]");
}

// One byte less, one byte other: an error or a tokenizer, and never anything else.
TEST_F(EmbeddedTokenizerTest, DamagedModelsEnd) {
  const std::string model = content_of(kTokenizer / "spiece.model");
  const size_t pieces = 16'000;  // about where the pieces end and the character map begins
  int refused = 0;
  const auto attempt = [&](const std::string& bytes) {
    refused += refusal_by([&] { Tokenizer::from(bytes, "model").encode("a red circle"); }) != "";
  };
  for (size_t size = 0; size < pieces; size += 97) attempt(model.substr(0, size));
  EXPECT_GT(refused, 140) << "of 165, of which few end between two pieces";
  for (size_t at = 0; at < pieces; at += 89) {
    std::string other = model;
    other[at] = char(other[at] ^ 0x94);
    attempt(other);
  }
  const std::string huge = "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", endless(20, '\xff');
  for (const std::string& bad : {huge, endless, std::string(), std::string("\x0b", 1), std::string(1000, '\x0a')})
    EXPECT_NE(refusal_by([&] { Tokenizer::from(bad, "model"); }), "");
}

TEST_F(EmbeddedTokenizerTest, OtherKindsOfModelsAreRefused) {
  // Two pieces, then what the training said: the kind of model is BPE.
  const std::string pieces(
      "\x0a\x09\x0a\x05<unk>\x18\x02"
      "\x0a\x06\x0a\x04</s>",
      19);
  EXPECT_NE(refusal_by([&] {
              Tokenizer::from(pieces + std::string("\x12\x02\x18\x02", 4), "model");
            }).find("must be a unigram model"),
            std::string::npos);
  EXPECT_NE(refusal_by([&] { Tokenizer::from(pieces, "model"); }).find("says that it is 2"), std::string::npos)
      << "the default of the format is past the end";
  const std::string end("\x12\x03\xd0\x02\x01", 5);  // eos_id 1
  EXPECT_EQ(Tokenizer::from(pieces + end, "model").encode_cleaned("</s>x"), (std::vector<int64_t>{0, 1, 0, 1}));
}

}  // namespace
}  // namespace wan::text
