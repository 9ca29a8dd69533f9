// Element types by the words that checkpoint files use for them.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string_view>

namespace wan {

/// One type of element in the three spellings that occur. An empty word: that file format has none.
struct DtypeWords {
  at::ScalarType dtype;
  std::string_view safetensors;  // "BF16"
  std::string_view storage;      // class in torch archives: "BFloat16Storage"
  std::string_view torch;        // object in torch archives, for types without a storage class: "float8_e4m3fn"
};

/// The type that safetensors calls `word`.
std::optional<at::ScalarType> dtype_of_safetensors(std::string_view word);
/// The type of a `torch.<word>` storage class.
std::optional<at::ScalarType> dtype_of_storage(std::string_view word);
/// The type `torch.<word>`.
std::optional<at::ScalarType> dtype_of_torch(std::string_view word);
/// What safetensors calls a type: "F32", "BF16", "F8_E4M3"; "?" where it has no word for it.
std::string_view dtype_name(at::ScalarType dtype);

}  // namespace wan
