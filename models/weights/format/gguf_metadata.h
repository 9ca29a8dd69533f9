// The front of a GGUF file: counts and metadata, of which little says how tensors lie.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/bytes.h"

namespace wan {

/// Walks over the header of a GGUF file, whatever it claims in bounded time and memory. Throws ModelError.
class GgufReader : public ByteReader {
 public:
  GgufReader(std::string_view bytes, const std::string& subject) : ByteReader(bytes, subject), subject_(subject) {}

  /// A string behind its length.
  std::string_view string();
  /// A key or the name of a tensor, which messages will show.
  std::string_view name();
  /// Throws once more than a header's bytes are passed.
  void check_length() const;
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  std::string subject_;
};

/// What the metadata says of the tensors.
struct GgufMetadata {
  uint64_t tensors = 0;     // that are described behind it
  uint32_t alignment = 32;  // of the data and of every tensor in it; a power of two
  std::map<std::string_view, std::vector<int64_t>> original_shapes;  // of tensors that were flattened, by name
};

/// Reads up to the first tensor. Throws ModelError for other versions and byte orders and for parts of a split file.
GgufMetadata take_gguf_metadata(GgufReader& reader);

}  // namespace wan
