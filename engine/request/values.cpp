#include "engine/request/values.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "models/files/utf8.h"

namespace wan {
namespace {

using nlohmann::json;

[[noreturn]] void refuse(const Parameter& parameter, const json& value, const char* type, const std::string& wanted) {
  const std::string came = parameter.path && value.is_string() ? shown_path(value) : shown(value);
  throw InvalidRequest({{parameter.name, wanted + ", got " + came, type, "", came}});
}

/// The whole text as a T; nothing where it is anything more, less or else.
template <class T>
std::optional<T> number_in(std::string_view text) {
  T number{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

int64_t read_integer(const Parameter& parameter, const json& value, bool text) {
  const char* const kWanted = "must be a whole number";
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX))
    refuse(parameter, value, "int_parsing_size", "must be a whole number of at most 2^63 - 1");
  if (value.is_number_integer()) return value.get<int64_t>();
  std::optional<double> real;
  if (value.is_number_float()) real = value.get<double>();
  if (value.is_string() && text) {
    const std::string& digits = value.get_ref<const std::string&>();
    if (auto number = number_in<int64_t>(digits)) return *number;
    real = number_in<double>(digits);
    if (!real) refuse(parameter, value, "int_parsing", kWanted);
  }
  if (!real) refuse(parameter, value, "int_type", kWanted);
  if (!std::isfinite(*real) || std::trunc(*real) != *real) refuse(parameter, value, "int_from_float", kWanted);
  if (std::abs(*real) >= 0x1p63)
    refuse(parameter, value, "int_parsing_size", "must be a whole number of at most 2^63 - 1");
  return int64_t(*real);
}

std::optional<uint64_t> read_seed(const Parameter& parameter, const json& value, bool text) {
  const char* const kWanted = "must be -1 (drawn) or a whole number from 0 to 2^64 - 1";
  const bool typed = value.is_string() && text;
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  if (typed)
    if (const auto number = number_in<uint64_t>(value.get_ref<const std::string&>())) return number;
  std::optional<double> real;
  if (value.is_number_float()) real = value.get<double>();
  if (typed) real = number_in<double>(value.get_ref<const std::string&>());
  if (real && std::abs(*real) >= 0x1p53) refuse(parameter, value, "int_parsing_size", kWanted);
  const int64_t number = read_integer(parameter, value, text);
  if (number < -1) refuse(parameter, value, "greater_than_equal", kWanted);
  return number == -1 ? std::nullopt : std::optional(uint64_t(number));
}

double read_number(const Parameter& parameter, const json& value, bool text) {
  const char* const kWanted = "must be a number";
  std::optional<double> number;
  if (value.is_number()) number = value.get<double>();
  if (value.is_string() && text) {
    number = number_in<double>(value.get_ref<const std::string&>());
    if (!number) refuse(parameter, value, "float_parsing", kWanted);
  }
  if (!number) refuse(parameter, value, "float_type", kWanted);
  if (!std::isfinite(*number)) refuse(parameter, value, "finite_number", "must be a finite number");
  return *number;
}

bool read_boolean(const Parameter& parameter, const json& value, bool text) {
  if (value.is_boolean()) return value.get<bool>();
  if (!value.is_string() || !text) refuse(parameter, value, "bool_type", "must be true or false");
  const std::string& word = value.get_ref<const std::string&>();
  for (const char* yes : {"true", "yes", "on", "1"})
    if (word == yes) return true;
  for (const char* no : {"false", "no", "off", "0"})
    if (word == no) return false;
  refuse(parameter, value, "bool_parsing", "must be true or false");
}

std::string read_text(const Parameter& parameter, const json& value) {
  constexpr size_t kLongest = 1 << 20, kLongestData = 44 << 20;
  if (!value.is_string()) refuse(parameter, value, "string_type", "must be a text");
  std::string text = value.get_ref<const std::string&>();
  if (parameter.media) text = plain_url(text);
  const bool data = parameter.media && text.starts_with("data:");
  if (text.size() > (data ? kLongestData : kLongest))
    refuse(parameter, value, "string_too_long",
           data ? "must be at most 44 MiB as a data URL" : "must be at most 1 MiB of text");
  if (!is_utf8(text)) refuse(parameter, value, "string_unicode", "must be UTF-8");
  if (parameter.path && text.empty()) refuse(parameter, value, "string_too_short", "must name a file or folder");
  if (parameter.path && text.find('\0') != std::string::npos)
    refuse(parameter, value, "value_error", "must be a path without a NUL character");
  return text;
}

std::vector<double> read_numbers(const Parameter& parameter, const json& value, bool text) {
  std::vector<double> numbers;
  if (value.is_string() && text) {
    std::string_view rest = value.get_ref<const std::string&>();
    for (size_t comma = 0; comma != std::string_view::npos; rest.remove_prefix(std::min(comma + 1, rest.size()))) {
      comma = rest.find(',');
      numbers.push_back(read_number(parameter, rest.substr(0, comma), text));
    }
    return numbers;
  }
  if (!value.is_array()) refuse(parameter, value, "list_type", "must be a list of numbers");
  for (const json& item : value) numbers.push_back(read_number(parameter, item, text));
  return numbers;
}

namespace {

constexpr size_t kMostLoras = 64, kMostScales = 1000;
constexpr double kMostLoraScale = 100;

bool is_transformer(std::string_view word) {
  return word == "high" || word == "low" || word == "both";
}

/// "0.5" and "1,0,0.5": nothing where it is anything else.
std::optional<std::vector<double>> scales_in(std::string_view text) {
  std::vector<double> scales;
  for (size_t comma = 0; comma != std::string_view::npos; text.remove_prefix(std::min(comma + 1, text.size()))) {
    comma = text.find(',');
    const std::optional<double> scale = number_in<double>(text.substr(0, comma));
    if (!scale) return std::nullopt;
    scales.push_back(*scale);
  }
  return scales;
}

Lora lora_in(std::string_view text) {
  Lora lora;
  if (const size_t at = text.rfind('@'); at != std::string_view::npos && is_transformer(text.substr(at + 1))) {
    lora.transformer = text.substr(at + 1);
    text = text.substr(0, at);
  }
  const size_t colon = text.rfind(':');
  if (const auto scales = colon == std::string_view::npos ? std::nullopt : scales_in(text.substr(colon + 1))) {
    lora.scales = *scales;
    text = text.substr(0, colon);
  }
  lora.path = text;
  return lora;
}

Lora lora_of(const Parameter& parameter, const json& value) {
  if (!value.is_object() || !value.contains("path"))
    refuse(parameter, value, "object_type", "must have entries such as {\"path\": \"a.safetensors\", \"scale\": 1}");
  Lora lora;
  for (const auto& [name, entry] : value.items()) {
    if (name == "path")
      lora.path = read_text(parameter, entry);
    else if (name == "scale")
      lora.scales =
          entry.is_array() ? read_numbers(parameter, entry, false) : std::vector{read_number(parameter, entry, false)};
    else if (name == "transformer")
      lora.transformer = read_text(parameter, entry);
    else
      refuse(parameter, name, "unknown", "must have path, scale and transformer alone");
  }
  if (!lora.transformer.empty() && !is_transformer(lora.transformer))
    refuse(parameter, lora.transformer, "literal_error", "must be for the transformer high, low or both");
  return lora;
}

void check(const Parameter& parameter, const Lora& lora) {
  if (lora.path.empty()) refuse(parameter, lora.path, "string_too_short", "must name a file");
  if (lora.path.find('\0') != std::string::npos)
    refuse(parameter, lora.path, "value_error", "must be a path without a NUL character");
  if (lora.scales.empty() || lora.scales.size() > kMostScales)
    refuse(parameter, lora.scales.size(), "value_error", "must have from 1 to 1000 scales");
  for (const double scale : lora.scales)
    if (!(std::abs(scale) <= kMostLoraScale))
      refuse(parameter, std::isfinite(scale) ? json(scale) : json(number_text(scale)), "less_than_equal",
             "must have scales from -100 to 100");
}

std::string scales_text(const Lora& lora) {
  std::string text;
  for (const double scale : lora.scales) text += (text.empty() ? "" : ",") + number_text(scale);
  return text;
}

/// What is wrong with the word behind the @ of a file that is absent, and the words that there are; empty where nothing
/// is behind one, or what looks like the end of a file's name.
std::string wrong_expert(const Lora& lora) {
  const size_t at = lora.path.rfind('@');
  if (at == std::string::npos || lora.path.find_first_of("/.", at) != std::string::npos) return "";
  const std::string came = lora.path.substr(at + 1);
  std::string word = came;
  for (char& letter : word) letter = char(std::tolower(static_cast<unsigned char>(letter)));
  if (!is_transformer(word))
    return "; behind @ stands the expert, high, low or both (@high, @low, @both), got " + shown(came);
  // A word in lower case was not read as the expert since a scale is behind it.
  if (word == came || lora.scales != std::vector<double>{1})
    return "; the expert comes last: write FILE:" + scales_text(lora) + "@" + word;
  return "; the expert is written in lower case, @" + word;
}

/// How a file is written whose name ends as with a scale, or whose end was read as one.
std::string wrong_scale(const Lora& lora) {
  std::error_code ignored;
  const std::string whole = lora.path + ":" + scales_text(lora);
  if (std::filesystem::exists(whole, ignored)) {
    const std::string name = std::filesystem::path(whole).filename().string();
    return "; what stands behind : is read as the scale: write " + shown_path(whole + ":1") + " for the file " +
           shown_path(name);
  }
  const size_t colon = lora.path.rfind(':');
  if (colon == std::string::npos || lora.path.find('/', colon) != std::string::npos) return "";
  const std::string came = lora.path.substr(colon + 1);
  return "; a LoRA is written FILE[:SCALE][@high|low|both], with one SCALE or several as 1,0.5: behind : came " +
         shown(came) + (scales_in(came) ? ", beside the scale " + scales_text(lora) : ", which is no scale");
}

}  // namespace

void check_lora_file(const std::string& field, const Lora& lora) {
  std::error_code ignored;
  const std::string& path = lora.path;
  if (is_url(path) || std::filesystem::exists(std::filesystem::symlink_status(path, ignored)))
    return check_readable(field, path);
  const std::string expert = wrong_expert(lora);
  throw InvalidRequest(field, "must be a file, and there is no file " + shown_missing(path) +
                                  (expert.empty() ? wrong_scale(lora) : expert));
}

std::vector<Lora> read_loras(const Parameter& parameter, const json& value, bool text) {
  std::vector<Lora> loras;
  if (text && value.is_string()) {
    loras.push_back(lora_in(read_text(parameter, value)));
  } else if (!value.is_array()) {
    refuse(parameter, value, "list_type", "must be a list of LoRAs");
  } else {
    if (value.size() > kMostLoras) refuse(parameter, value.size(), "too_long", "must have at most 64 LoRAs");
    for (const json& entry : value)
      loras.push_back(text && entry.is_string() ? lora_in(read_text(parameter, entry)) : lora_of(parameter, entry));
  }
  for (const Lora& lora : loras) check(parameter, lora);
  return loras;
}

}  // namespace wan
