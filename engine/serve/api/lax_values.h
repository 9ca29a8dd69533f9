// Numbers and booleans as pydantic's lax mode reads them out of JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

namespace wan::serve {

struct LaxInteger {
  enum Trouble { None, Type, Parsing, Fraction, Size };
  Trouble trouble = None;
  nlohmann::json value = nullptr;  // an integer, signed or unsigned, of 64 bits
};

/// 81, 81.0, true, "81", " +8_1.00 ". Size: it has more than 64 bits.
LaxInteger lax_integer(const nlohmann::json& value);
/// 3.5, 3, true, "3.5", ".35e1", "inf", "nan"; nothing for others.
std::optional<double> lax_number(const nlohmann::json& value);
/// true, 1, 1.0, and in letters of either case "true", "t", "yes", "y", "on", "1", and their opposites; nothing for others.
std::optional<bool> lax_boolean(const nlohmann::json& value);

}  // namespace wan::serve
