#include "models/text/tokenizer/sentencepiece_model.h"

#include <bit>
#include <cstring>
#include <optional>

#include "models/files/error.h"

namespace wan::text {
namespace {

constexpr size_t kLargest = 64 << 20;    // the published one has 4.5 MB
constexpr size_t kMostPieces = 1 << 20;  // and 256,000 pieces

[[noreturn]] void refuse_damaged(const std::string& subject) {
  throw ModelError(subject, "must be a sentencepiece model, is damaged or another; download it again");
}

/// One field of a message of protocol buffers. The kinds of value are the encoding's wire types.
struct Field {
  enum Kind : uint64_t { kNumber = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  uint64_t number;
  Kind kind;
  uint64_t value = 0;           // of a kNumber
  std::string_view bytes = {};  // of the others
};

/// Walks over the fields of a message.
class Message {
 public:
  Message(std::string_view bytes, const std::string& subject) : bytes_(bytes), subject_(subject) {}

  /// Nothing at the end.
  std::optional<Field> next() {
    if (bytes_.empty()) return std::nullopt;
    const uint64_t tag = take_number();
    Field field{tag >> 3, Field::Kind(tag & 7)};
    if (field.kind == Field::kNumber)
      field.value = take_number();
    else if (field.kind == Field::kFixed64 || field.kind == Field::kFixed32)
      field.bytes = take(field.kind == Field::kFixed64 ? 8 : 4);
    else if (field.kind == Field::kBytes)
      field.bytes = take(take_number());
    else
      refuse_damaged(subject_);
    return field;
  }

 private:
  std::string_view take(uint64_t size) {
    if (size > bytes_.size()) refuse_damaged(subject_);
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

  /// Seven bits in each byte, the lowest first.
  uint64_t take_number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    refuse_damaged(subject_);
  }

  std::string_view bytes_;
  const std::string& subject_;
};

/// Visits the fields of a message.
template <typename Visit>
void read(std::string_view bytes, const std::string& subject, Visit visit) {
  Message message(bytes, subject);
  while (const auto field = message.next()) visit(*field);
}

void expect(const Field& field, Field::Kind kind, const std::string& subject) {
  if (field.kind != kind) refuse_damaged(subject);
}

Piece read_piece(std::string_view bytes, const std::string& subject) {
  Piece piece{"", 0, PieceKind::Normal};
  read(bytes, subject, [&](const Field& field) {
    if (field.number == 1) {
      expect(field, Field::kBytes, subject);
      piece.text = field.bytes;
    } else if (field.number == 2) {
      expect(field, Field::kFixed32, subject);
      float score;
      std::memcpy(&score, field.bytes.data(), sizeof score);
      piece.score = score;
    } else if (field.number == 3) {
      expect(field, Field::kNumber, subject);
      if (field.value < uint64_t(PieceKind::Normal) || field.value > uint64_t(PieceKind::Byte)) refuse_damaged(subject);
      piece.kind = PieceKind(field.value);
    }
  });
  return piece;
}

void read_training(std::string_view bytes, const std::string& subject, Pieces& pieces) {
  read(bytes, subject, [&](const Field& field) {
    constexpr uint64_t kUnigram = 1;
    if (field.number == 3 && (field.kind != Field::kNumber || field.value != kUnigram))
      throw ModelError(subject, "must be a unigram model, is of another kind; take that of google/umt5-xxl");
    if (field.number != 42) return;
    expect(field, Field::kNumber, subject);
    pieces.end = static_cast<int32_t>(field.value);
  });
}

void read_normalizer_spec(std::string_view bytes, const std::string& subject, Pieces& pieces) {
  read(bytes, subject, [&](const Field& field) {
    if (field.number == 2) {
      expect(field, Field::kBytes, subject);
      pieces.charsmap = field.bytes;
    } else if (field.number == 3 || field.number == 4) {
      expect(field, Field::kNumber, subject);
      (field.number == 3 ? pieces.add_space_prefix : pieces.remove_extra_whitespaces) = field.value != 0;
    }
  });
}

}  // namespace

Pieces read_sentencepiece(std::string_view model, const std::string& subject) {
  if (model.size() > kLargest) throw ModelError(subject, "must be a sentencepiece model below 64 MB");
  Pieces pieces;
  pieces.end = 2;  // where the model does not say it
  read(model, subject, [&](const Field& field) {
    if (field.number < 1 || field.number > 3) return;
    expect(field, Field::kBytes, subject);
    if (field.number == 1) {
      if (pieces.list.size() == kMostPieces) throw ModelError(subject, "must have at most a million pieces, has more");
      pieces.list.push_back(read_piece(field.bytes, subject));
    } else if (field.number == 2) {
      read_training(field.bytes, subject, pieces);
    } else {
      read_normalizer_spec(field.bytes, subject, pieces);
    }
  });
  if (pieces.list.empty()) refuse_damaged(subject);
  return pieces;
}

}  // namespace wan::text
