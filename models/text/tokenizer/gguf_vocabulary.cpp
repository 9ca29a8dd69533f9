#include "models/text/tokenizer/gguf_vocabulary.h"

#include <algorithm>
#include <initializer_list>

#include "models/files/error.h"

namespace wan::text {
namespace {

constexpr uint64_t kMostPieces = 1 << 20;  // the published one has 256,384

/// Entries of the metadata whose keys begin with tokenizer.ggml. Their lengths are checked: a reader never passes the end.
class Entries {
 public:
  Entries(const GgufMetadata& metadata, const std::string& subject) : entries_(metadata.tokenizer), subject_(subject) {}

  std::optional<std::string_view> text(std::string_view key) const {
    const GgufValue* value = find(key, {GgufType::String});
    if (!value) return std::nullopt;
    return GgufReader(value->bytes, subject_).string();
  }
  bool flag(std::string_view key, bool fallback) const {
    const GgufValue* value = find(key, {GgufType::Bool});
    return value ? value->bytes[0] != 0 : fallback;
  }
  int64_t id(std::string_view key, int64_t fallback) const {
    const GgufValue* value = find(key, {GgufType::Uint32, GgufType::Int32});
    return value ? GgufReader(value->bytes, subject_).number<int32_t>() : fallback;
  }
  /// Calls visit(reader) for each element of a list, whose length it returns.
  template <typename Visit>
  uint64_t list(std::string_view key, std::initializer_list<GgufType> types, Visit visit) const {
    const GgufValue* value = find(key, {GgufType::Array});
    if (!value) refuse(key, "there");
    GgufReader reader(value->bytes, subject_);
    const auto type = GgufType(reader.number<uint32_t>());
    const auto count = reader.number<uint64_t>();
    if (std::find(types.begin(), types.end(), type) == types.end()) refuse(key, "a list of another type");
    if (count > kMostPieces) refuse(key, "a list of at most a million");
    for (uint64_t i = 0; i < count; ++i) visit(reader);
    return count;
  }
  bool has(std::string_view key) const { return entries_.contains(key); }
  [[noreturn]] void refuse(std::string_view key, const std::string& wanted) const {
    throw ModelError(subject_ + ": tokenizer.ggml." + std::string(key),
                     "must be " + wanted + ", is not; take another file of the text encoder");
  }

 private:
  /// Null where it is absent.
  const GgufValue* find(std::string_view key, std::initializer_list<GgufType> types) const {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return nullptr;
    if (std::find(types.begin(), types.end(), found->second.type) == types.end()) refuse(key, "of its usual type");
    return &found->second;
  }

  const std::map<std::string_view, GgufValue>& entries_;
  const std::string& subject_;
};

}  // namespace

std::optional<Pieces> read_gguf_vocabulary(const GgufMetadata& metadata, const std::string& subject) {
  const Entries entries(metadata, subject);
  const auto model = entries.text("model");
  if (!model) return std::nullopt;
  if (*model != "t5") entries.refuse("model", "t5, a unigram model");
  Pieces pieces;
  const uint64_t count = entries.list("tokens", {GgufType::String}, [&](GgufReader& reader) {
    pieces.list.push_back({std::string(reader.string()), 0, PieceKind::Normal});
  });
  const auto expect = [&](std::string_view key, uint64_t length) {
    if (length != count) entries.refuse(key, "as long as tokenizer.ggml.tokens (" + std::to_string(count) + ")");
  };
  std::vector<float> scores;
  std::vector<uint32_t> kinds;
  expect("scores", entries.list("scores", {GgufType::Float32},
                                [&](GgufReader& reader) { scores.push_back(reader.number<float>()); }));
  expect("token_type", entries.list("token_type", {GgufType::Int32, GgufType::Uint32},
                                    [&](GgufReader& reader) { kinds.push_back(reader.number<uint32_t>()); }));
  for (size_t id = 0; id < count; ++id) {
    if (kinds[id] < uint32_t(PieceKind::Normal) || kinds[id] > uint32_t(PieceKind::Byte))
      entries.refuse("token_type", "a list of numbers from 1 to 6");
    pieces.list[id].score = scores[id];
    pieces.list[id].kind = PieceKind(kinds[id]);
  }
  pieces.end = entries.id("eos_token_id", pieces.end);
  pieces.add_space_prefix = entries.flag("add_space_prefix", true);
  pieces.remove_extra_whitespaces = entries.flag("remove_extra_whitespaces", true);
  pieces.normal_form = !entries.has("precompiled_charsmap");
  if (!pieces.normal_form)
    entries.list("precompiled_charsmap", {GgufType::Uint8, GgufType::Int8},
                 [&](GgufReader& reader) { pieces.charsmap += reader.number<char>(); });
  return pieces;
}

}  // namespace wan::text
