// The precompiled character map of sentencepiece models: a double array (darts-clone) over the keys, and their
// replacements. Follows the library spm_precompiled and the way tokenizers calls it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wan::text {

class Charsmap {
 public:
  /// `bytes` are u32 little-endian size of the double array in bytes, the array, then replacements with a NUL behind
  /// each. `where` is what messages name. Throws ModelError where that is not what they hold.
  Charsmap(std::string_view bytes, std::string where);

  /// Extended grapheme clusters below six bytes are replaced as a whole, otherwise each character by itself; what has
  /// no entry stays. Throws ModelError where the array points outside itself.
  std::string operator()(std::string_view text) const;

 private:
  /// The replacement of the SHORTEST key that `text` starts with: the library takes the first hit, not the longest.
  std::optional<std::string_view> look_up(std::string_view text) const;
  uint32_t unit(size_t index) const;

  std::string where_;
  std::vector<uint32_t> units_;
  std::string replacements_;
};

/// The bytes of base64 text: whole groups of four, padding at the end alone. Nothing where the text is not that.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace wan::text
