#include "models/text/tokenizer/pieces.h"

#include <cmath>
#include <memory>
#include <stdexcept>

#include "models/files/error.h"
#include "models/files/utf8.h"
#include "models/text/tokenizer/charsmap.h"

namespace wan::text {
namespace {

constexpr const char* kMark = "\u2581";  // stands for a space

void check(const Piece& piece, size_t id, const std::string& subject) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds)
      throw ModelError(subject,
                       "must have " + what + " for piece " + std::to_string(id) + ", has another; download it again");
  };
  require(std::isfinite(piece.score), "a finite score");
  try {
    check_utf8(piece.text);
  } catch (const std::invalid_argument&) {
    require(false, "UTF-8");
  }
}

int32_t unknown_of(const Pieces& pieces, const std::string& subject) {
  int32_t unknown = -1, count = 0;
  for (size_t id = 0; id < pieces.list.size(); ++id) {
    if (pieces.list[id].kind != PieceKind::Unknown) continue;
    unknown = static_cast<int32_t>(id);
    ++count;
  }
  if (count != 1)
    throw ModelError(subject, "must have one piece for unknown characters (<unk>), has " + std::to_string(count) +
                                  "; download it again");
  return unknown;
}

/// llama.cpp fills up a vocabulary to the rows of the embedding with pieces that no text gives.
bool is_padding(const Piece& piece, size_t id) {
  return piece.kind == PieceKind::Unused && piece.text == "[PAD" + std::to_string(id) + "]";
}

/// The character map; then spaces at the end go, and several in a row are one.
Normalizer normalizer_of(const Pieces& pieces, const std::string& subject) {
  std::vector<Normalizer> steps;
  if (!pieces.charsmap.empty()) {
    auto map = std::make_shared<const Charsmap>(pieces.charsmap, subject + ": precompiled_charsmap");
    steps.push_back([map](const std::string& text) { return (*map)(text); });
  }
  if (pieces.normal_form) steps.push_back(read_normalizer({{"type", "NFKC"}}, subject));
  if (pieces.remove_extra_whitespaces) {
    const nlohmann::json strip = {{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}};
    const nlohmann::json several = {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", kMark}};
    steps.push_back(read_normalizer(strip, subject));
    steps.push_back(read_normalizer(several, subject));
  }
  return [steps](std::string text) {
    for (const Normalizer& step : steps) text = step(std::move(text));
    return text;
  };
}

}  // namespace

UnigramTokenizer tokenizer_of(Pieces pieces, const std::string& subject) {
  const int32_t unknown = unknown_of(pieces, subject);
  const int64_t count = std::ssize(pieces.list);
  if (pieces.end < 0 || pieces.end >= count)
    throw ModelError(subject, "must have a piece for the end of a text (</s>) among its " + std::to_string(count) +
                                  ", says that it is " + std::to_string(pieces.end) + "; download it again");
  std::vector<std::pair<std::string, double>> vocabulary;
  std::vector<AddedToken> special;
  for (size_t id = 0; id < pieces.list.size(); ++id) {
    Piece& piece = pieces.list[id];
    check(piece, id, subject);
    if (is_padding(piece, id)) piece = {"", 0, PieceKind::Unused};  // a text that is never found
    const bool is_special =
        piece.kind == PieceKind::Unknown || piece.kind == PieceKind::Control || piece.kind == PieceKind::UserDefined;
    if (is_special && !piece.text.empty())
      special.push_back({piece.text, static_cast<int32_t>(id), false, false, false, false});
    vocabulary.emplace_back(std::move(piece.text), piece.score);
  }
  const nlohmann::json metaspace = {
      {"type", "Metaspace"}, {"replacement", kMark}, {"prepend_scheme", pieces.add_space_prefix ? "always" : "never"}};
  // Models with pieces for bytes give the unknown piece all the same: the reference's tokenizer does not use them.
  return {.model = Unigram(std::move(vocabulary), unknown, /*byte_fallback=*/false),
          .literal = AddedTokens(std::move(special)),
          .normalized = {},
          .normalizer = normalizer_of(pieces, subject),
          .metaspace = Metaspace(metaspace, subject),
          .before = {},
          .behind = {pieces.end}};
}

}  // namespace wan::text
