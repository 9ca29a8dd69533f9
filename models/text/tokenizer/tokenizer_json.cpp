#include "models/text/tokenizer/tokenizer_json.h"

#include "models/files/error.h"
#include "models/files/json.h"
#include "models/text/tokenizer/fields.h"

namespace wan::text {
namespace {

// The real one has 17 MB and 770,000 values.
constexpr JsonLimits kLimits = {.bytes = 64 << 20, .depth = 24, .values = 3'000'000};

/// What stands before and behind the ids of a text.
struct Template {
  std::vector<int64_t> before, behind;
};

Unigram read_model(Fields fields) {
  if (const std::string type = fields.text("type"); type != "Unigram")
    fields.fail("must be a model of type Unigram, got " + printable(type));
  const nlohmann::json& list = fields.list("vocab");
  std::vector<std::pair<std::string, double>> vocabulary;
  vocabulary.reserve(list.size());
  for (const nlohmann::json& entry : list) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      fields.fail("vocab[" + std::to_string(vocabulary.size()) + "] must be a piece and its score");
    vocabulary.emplace_back(entry[0].get_ref<const std::string&>(), entry[1].get<double>());
  }
  const int64_t unknown = fields.whole_number("unk_id");
  if (unknown >= std::ssize(vocabulary))
    fields.fail("unk_id must be an id of the vocabulary of " + std::to_string(vocabulary.size()) + " pieces, got " +
                std::to_string(unknown));
  const bool byte_fallback = fields.flag("byte_fallback", false);
  fields.finish();
  return Unigram(std::move(vocabulary), static_cast<int32_t>(unknown), byte_fallback);
}

std::vector<AddedToken> read_added_tokens(Fields& file, const Unigram& model) {
  std::vector<AddedToken> tokens;
  for (const nlohmann::json& entry : file.list("added_tokens")) {
    Fields fields(entry, file.where("added_tokens[" + std::to_string(tokens.size()) + "]"));
    AddedToken token = {fields.text("content"),     static_cast<int32_t>(fields.whole_number("id")),
                        fields.flag("single_word"), fields.flag("lstrip"),
                        fields.flag("rstrip"),      fields.flag("normalized")};
    fields.flag("special", false);  // says how ids are shown, not how text is cut
    fields.finish();
    const int32_t piece = model.id(token.content);
    if (piece >= 0 && piece != token.id)
      fields.fail("must have the id of its piece in the vocabulary, " + std::to_string(piece) + ", got " +
                  std::to_string(token.id));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

/// The ids that stand for one special token of a template.
std::vector<int64_t> special_ids(Fields& tokens, const std::string& name) {
  Fields token = tokens.object(name);
  token.take("id");
  token.take("tokens");
  std::vector<int64_t> ids;
  for (const nlohmann::json& id : token.list("ids")) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX) token.fail("ids must be whole numbers");
    ids.push_back(id.get<int64_t>());
  }
  token.finish();
  return ids;
}

Template read_template(const nlohmann::json& value, const std::string& where) {
  if (value.is_null()) return {};
  Fields fields(value, where);
  if (const std::string type = fields.text("type"); type != "TemplateProcessing")
    fields.fail("must be a post-processor of type TemplateProcessing, got " + printable(type));
  fields.take("pair");  // for pairs of texts; a prompt is one
  Fields tokens = fields.object("special_tokens");
  Template result;
  int texts = 0;
  for (const nlohmann::json& entry : fields.list("single")) {
    Fields item(entry, fields.where("single"));
    const bool text = !item.take("Sequence").is_null();
    Fields part = item.object(text ? "Sequence" : "SpecialToken");
    item.finish();
    const std::string id = part.text("id");
    part.take("type_id");
    part.finish();
    if (text && (id != "A" || ++texts > 1)) fields.fail("single must hold the sequence A once");
    if (text) continue;
    std::vector<int64_t>& side = texts ? result.behind : result.before;
    const std::vector<int64_t> ids = special_ids(tokens, id);
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (texts != 1) fields.fail("single must hold the sequence A once");
  fields.finish();
  return result;
}

void check_truncation(Fields& file) {
  if (file.take("truncation").is_null()) return;
  Fields truncation = file.object("truncation");
  if (!truncation.take("direction").is_null() && truncation.text("direction") != "Right")
    truncation.fail("direction must be Right, the only one the reference uses, got " +
                    printable(truncation.text("direction")));
}

}  // namespace

UnigramTokenizer read_tokenizer_json(const std::filesystem::path& path) {
  const nlohmann::json json = read_json(*MappedFile::open(path), kLimits);
  Fields file(json, path.string() + ":");
  if (const std::string version = file.text("version"); version != "1.0")
    file.fail("version must be 1.0, got " + printable(version));
  file.take("padding");
  file.take("decoder");
  check_truncation(file);
  Unigram model = read_model(file.object("model"));
  Normalizer normalizer = read_normalizer(file.take("normalizer"), file.where("normalizer"));
  std::vector<AddedToken> literal, normalized;
  for (AddedToken& token : read_added_tokens(file, model)) {
    if (token.normalized) token.content = normalizer(std::move(token.content));
    (token.normalized ? normalized : literal).push_back(std::move(token));
  }
  Metaspace metaspace(file.take("pre_tokenizer"), file.where("pre_tokenizer"));
  Template around = read_template(file.take("post_processor"), file.where("post_processor"));
  file.finish();
  return {.model = std::move(model),
          .literal = AddedTokens(std::move(literal)),
          .normalized = AddedTokens(std::move(normalized)),
          .normalizer = std::move(normalizer),
          .metaspace = std::move(metaspace),
          .before = std::move(around.before),
          .behind = std::move(around.behind)};
}

}  // namespace wan::text
