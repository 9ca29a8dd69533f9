// The front of a GGUF file: counts and metadata, of which little says how tensors lie.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/bytes.h"
#include "models/files/mapped_file.h"

namespace wan {

/// Walks over the header of a GGUF file, whatever it claims in bounded time and memory. Throws ModelError.
class GgufReader : public ByteReader {
 public:
  GgufReader(std::string_view bytes, const std::string& subject)
      : ByteReader(bytes, subject), bytes_(bytes), subject_(subject) {}

  /// A string behind its length.
  std::string_view string();
  /// A key or the name of a tensor, which messages will show.
  std::string_view name();
  /// What was passed since position() was `begin`.
  std::string_view since(size_t begin) const { return bytes_.substr(begin, position() - begin); }
  /// Throws once more than a header's bytes are passed.
  void check_length() const;
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  std::string_view bytes_;
  std::string subject_;
};

/// Types of metadata, with the numbers of the format.
enum class GgufType : uint32_t {
  Uint8,
  Int8,
  Uint16,
  Int16,
  Uint32,
  Int32,
  Float32,
  Bool,
  String,
  Array,
  Uint64,
  Int64,
  Float64,
};

/// A value as it lies in the file, found to be whole. A string: u64 length, bytes. An array: u32 type, u64 count, elements.
struct GgufValue {
  GgufType type;
  std::string_view bytes;
};

/// What the metadata says of the tensors, and of the tokenizer of a text encoder. Views point into the file.
struct GgufMetadata {
  uint64_t tensors = 0;     // that are described behind it
  uint32_t alignment = 32;  // of the data and of every tensor in it; a power of two
  std::map<std::string_view, std::vector<int64_t>> original_shapes;  // of tensors that were flattened, by name
  std::map<std::string_view, GgufValue> tokenizer;  // the entries "tokenizer.ggml.KEY" by KEY, as they lie in the file
};

/// Whether a file begins as a GGUF file.
bool is_gguf(const MappedFile& file);
/// Of a file of which is_gguf holds, its whole metadata. Throws as take_gguf_metadata.
GgufMetadata read_gguf_metadata(const MappedFile& file);

/// Reads up to the first tensor. Throws ModelError for other versions and byte orders and for parts of a split file.
GgufMetadata take_gguf_metadata(GgufReader& reader);

}  // namespace wan
