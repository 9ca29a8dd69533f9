#include "engine/serve/api/validate.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "engine/serve/api/lax_values.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Kind = EndpointField::Kind;

// The endpoints have some 25 fields; what else a client sends beside them is ignored.
constexpr int kDepth = 16;
constexpr size_t kValues = 10'000;
constexpr size_t kLongestEcho = 1000;  // bytes of a text

/// Whole where it is short; a body may hold a video as a data URL, and each entry of the list would repeat it.
json shortened(const json& value) {
  if (value.is_string() && value.get_ref<const std::string&>().size() > kLongestEcho) {
    const std::string& text = value.get_ref<const std::string&>();
    size_t end = kLongestEcho;
    while (end > 0 && (text[end] & 0xC0) == 0x80) --end;
    return text.substr(0, end) + "... (" + std::to_string(text.size()) + " bytes)";
  }
  if (!value.is_structured()) return value;
  json copy = value.is_array() ? json::array() : json::object();
  for (const auto& [name, item] : value.items()) {
    if (value.is_array())
      copy.push_back(shortened(item));
    else
      copy[name.size() > kLongestEcho ? shortened(name).get<std::string>() : name] = shortened(item);
  }
  return copy;
}

/// "'480p', '580p' or '720p'".
std::string expected(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "'" : i + 1 == words.size() ? " or '" : ", '") + words[i] + "'";
  return text;
}

/// Numbers of an integer's range are written as integers.
ordered_json bound(const EndpointField& field, double value) {
  if (field.kind == Kind::Integer) return int64_t(value);
  return value;
}

class Checker {
 public:
  Checker(const EndpointField& field, const json& value, ErrorList& errors)
      : field_(field), value_(value), errors_(errors) {}

  /// Nothing where an error was added.
  std::optional<json> run() {
    switch (field_.kind) {
      case Kind::Text:
        return text();
      case Kind::Integer:
        return integer();
      case Kind::Number:
        return number();
      case Kind::Boolean:
        return boolean();
    }
    return std::nullopt;
  }

 private:
  void fail(const char* type, const std::string& msg, const ordered_json& ctx = nullptr) {
    add_error(errors_, field_.name, type, msg, value_, ctx);
  }

  std::optional<json> text() {
    if (field_.words.empty()) {
      if (value_.is_string()) return value_;
      fail("string_type", "Input should be a valid string");
      return std::nullopt;
    }
    if (value_.is_string())
      for (const std::string& word : field_.words)
        if (value_ == word) return value_;
    const std::string words = expected(field_.words);
    fail("literal_error", "Input should be " + words, {{"expected", words}});
    return std::nullopt;
  }

  std::optional<json> integer() {
    const LaxInteger read = lax_integer(value_);
    switch (read.trouble) {
      case LaxInteger::None:
        return in_range(read.value.get<double>()) ? std::optional(read.value) : std::nullopt;
      case LaxInteger::Type:
        fail("int_type", "Input should be a valid integer");
        break;
      case LaxInteger::Parsing:
        fail("int_parsing", "Input should be a valid integer, unable to parse string as an integer");
        break;
      case LaxInteger::Fraction:
        fail("int_from_float", "Input should be a valid integer, got a number with a fractional part");
        break;
      case LaxInteger::Size:
        fail("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size");
        break;
    }
    return std::nullopt;
  }

  std::optional<json> number() {
    const std::optional<double> read = lax_number(value_);
    if (!read) {
      if (value_.is_string())
        fail("float_parsing", "Input should be a valid number, unable to parse string as a number");
      else
        fail("float_type", "Input should be a valid number");
      return std::nullopt;
    }
    return in_range(*read) ? std::optional(json(*read)) : std::nullopt;
  }

  std::optional<json> boolean() {
    if (const std::optional<bool> read = lax_boolean(value_)) return *read;
    const bool unclear =
        value_.is_string() || value_.is_number_integer() || (value_.is_number_float() && !has_fraction(value_));
    if (unclear)
      fail("bool_parsing", "Input should be a valid boolean, unable to interpret input");
    else
      fail("bool_type", "Input should be a valid boolean");
    return std::nullopt;
  }

  static bool has_fraction(const json& value) {
    const auto number = value.get<double>();
    return std::trunc(number) != number;
  }

  /// In pydantic's order: the multiple, the upper end, the lower. What is no number is above every end.
  bool in_range(double value) {
    const Range& range = field_.range;
    if (range.step != 1 && std::fmod(value, double(range.step)) != 0) {
      fail("multiple_of", "Input should be a multiple of " + std::to_string(range.step), {{"multiple_of", range.step}});
      return false;
    }
    if (field_.has_most() && !(value <= range.most)) {
      fail("less_than_equal", "Input should be less than or equal to " + number_text(range.most),
           {{"le", bound(field_, range.most)}});
      return false;
    }
    if (field_.has_least() && !(value >= range.least)) {
      fail("greater_than_equal", "Input should be greater than or equal to " + number_text(range.least),
           {{"ge", bound(field_, range.least)}});
      return false;
    }
    return true;
  }

  const EndpointField& field_;
  const json& value_;
  ErrorList& errors_;
};

}  // namespace

void add_error(ErrorList& errors, const std::string& field, const char* type, const std::string& msg, const json& input,
               const ordered_json& ctx) {
  ordered_json entry;
  entry["type"] = type;
  entry["loc"] = field.empty() ? ordered_json::array({"body"}) : ordered_json::array({"body", field});
  entry["msg"] = msg;
  entry["input"] = shortened(input);
  if (!ctx.is_null()) entry["ctx"] = ctx;
  if (errors.is_null()) errors = ordered_json::array();
  errors.push_back(std::move(entry));
}

json read_body_json(std::string_view text, ErrorList& errors) {
  if (text.empty()) {
    add_error(errors, "", "missing", "Field required", nullptr);
    return nullptr;
  }
  try {
    return parse_json(text, {.bytes = text.size(), .depth = kDepth, .values = kValues});
  } catch (const BrokenJson& broken) {
    add_error(errors, "", "json_invalid", "JSON decode error", json::object(), {{"error", broken.what()}});
    errors.back()["loc"].push_back(broken.byte);
    return nullptr;
  }
}

json check_body(const Endpoint& endpoint, const json& body, ErrorList& errors) {
  json values = json::object();
  if (!body.is_object()) {
    add_error(errors, "", "model_attributes_type",
              "Input should be a valid dictionary or object to extract fields from", body);
    return values;
  }
  for (const EndpointField& field : endpoint.fields) {
    const auto sent = body.find(field.name);
    if (sent == body.end()) {
      if (field.required) add_error(errors, field.name, "missing", "Field required", body);
      continue;
    }
    if (field.nullable && sent->is_null()) continue;
    if (std::optional<json> value = Checker(field, *sent, errors).run()) values[field.name] = std::move(*value);
  }
  return values;
}

std::string error_text(const Endpoint& endpoint, const ErrorList& errors) {
  std::string text;
  for (const ordered_json& entry : errors) {
    const ordered_json& loc = entry.at("loc");
    std::string name = loc.size() > 1 && loc[1].is_string() ? loc[1].get<std::string>() : "body";
    if (const EndpointField* field = endpoint.field_of(name)) name = field->name;
    text += (text.empty() ? "" : "; ") + name + ": " + entry.at("msg").get<std::string>();
  }
  return text;
}

}  // namespace wan::serve
