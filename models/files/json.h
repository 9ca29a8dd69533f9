// JSON that may come from anyone: bounded in size, depth and number of values, and wrong in our own words.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "models/files/mapped_file.h"

namespace wan {

/// What a text may be at most.
struct JsonLimits {
  size_t bytes = 1 << 20;
  int depth = 16;             // of objects and lists in each other
  size_t values = 100'000;    // values and names of members; each takes some tens of bytes of memory
  bool unique_names = false;  // of the outermost object; else the last of equal names counts
};

/// Why a text was not read. what() is a predicate, "must be JSON, breaks at byte 12", and quotes nothing of the text.
struct BrokenJson : std::runtime_error {
  enum class Kind { Large, Syntax, Number, Deep, Many, Twice };
  BrokenJson(Kind kind, size_t byte, const std::string& what) : std::runtime_error(what), kind(kind), byte(byte) {}
  Kind kind;
  size_t byte;       // where it breaks, from 0; of syntax and numbers
  std::string name;  // the member that occurs twice
};

/// Where a byte of a text stands, as editors count: "line 3, column 7".
std::string place_in(std::string_view text, size_t byte);

/// Parses a whole text into nlohmann::json or nlohmann::ordered_json. `count` is given the number of values. Takes time
/// linear in the text. Throws BrokenJson.
template <class Json = nlohmann::json>
Json parse_json(std::string_view text, const JsonLimits& limits = {}, size_t* count = nullptr);

/// A model's file. Throws ModelError, which also says where the file is something else under this name.
template <class Json = nlohmann::json>
Json read_json(const MappedFile& file, const JsonLimits& limits = {});
/// A text that the user wrote, where "download it again" leads nowhere. Throws ModelError, with the line and the column
/// at which it breaks.
nlohmann::json read_written_json(const MappedFile& file, const JsonLimits& limits = {});

}  // namespace wan
