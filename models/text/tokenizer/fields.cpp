#include "models/text/tokenizer/fields.h"

#include "models/files/error.h"

namespace wan::text {
namespace {

const nlohmann::json kNull;

/// A value as a message shows it: cut, so that a hostile file cannot fill a screen.
std::string shown(const nlohmann::json& value) {
  if (value.is_structured()) return value.type_name();
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() > 40 ? text.substr(0, 40) + "..." : text;
}

[[noreturn]] void wrong_type(const std::string& where, const char* wanted, const nlohmann::json& value) {
  throw ModelError(where,
                   std::string("must be ") + wanted + ", got " + shown(value) + "; take the file of the checkpoint");
}

}  // namespace

Fields::Fields(const nlohmann::json& value, std::string where) : value_(value), where_(std::move(where)) {
  if (!value_.is_object()) wrong_type(where_, "an object", value_);
}

const nlohmann::json& Fields::take(const std::string& key) {
  taken_.insert(key);
  auto found = value_.find(key);
  return found == value_.end() ? kNull : *found;
}

std::string Fields::text(const std::string& key) {
  const nlohmann::json& value = take(key);
  if (!value.is_string()) wrong_type(where(key), "a string", value);
  return value.get<std::string>();
}

bool Fields::flag(const std::string& key) {
  const nlohmann::json& value = take(key);
  if (!value.is_boolean()) wrong_type(where(key), "true or false", value);
  return value.get<bool>();
}

bool Fields::flag(const std::string& key, bool fallback) {
  return take(key).is_null() ? fallback : flag(key);
}

int64_t Fields::whole_number(const std::string& key) {
  const nlohmann::json& value = take(key);
  if (!value.is_number_integer() || value > INT32_MAX || value < 0) wrong_type(where(key), "a whole number", value);
  return value.get<int64_t>();
}

const nlohmann::json& Fields::list(const std::string& key) {
  const nlohmann::json& value = take(key);
  if (!value.is_array()) wrong_type(where(key), "a list", value);
  return value;
}

Fields Fields::object(const std::string& key) {
  return Fields(take(key), where(key));
}

void Fields::finish() const {
  for (const auto& item : value_.items())
    if (!taken_.count(item.key()))
      throw ModelError(where(shown(item.key())), "is not understood, and ignoring it could change the text's tokens");
}

void Fields::fail(const std::string& what) const {
  throw ModelError(where_, what);
}

}  // namespace wan::text
