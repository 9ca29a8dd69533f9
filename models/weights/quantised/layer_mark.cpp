#include "models/weights/quantised/layer_mark.h"

#include <bit>
#include <nlohmann/json.hpp>
#include <utility>

#include "models/files/error.h"
#include "models/files/json.h"

namespace wan {
namespace {

constexpr std::pair<std::string_view, LayerFormat> kFormats[] = {{"float8_e4m3fn", LayerFormat::E4M3},
                                                                 {"float8_e5m2", LayerFormat::E5M2},
                                                                 {"int8_tensorwise", LayerFormat::Int8},
                                                                 {"mxfp8", LayerFormat::MxFp8},
                                                                 {"nvfp4", LayerFormat::NvFp4}};
constexpr int64_t kUsualRotation = 256, kLargestRotation = 65536;

nlohmann::json parsed(std::string_view text, const JsonLimits& limits, const std::string& subject) {
  try {
    return parse_json(text, limits);
  } catch (const BrokenJson& broken) {
    throw ModelError(subject, std::string(broken.what()) + "; download it again");
  }
}

LayerFormat format_of(const nlohmann::json& word, const std::string& subject) {
  const std::string text = word.is_string() ? word.get<std::string>() : word.dump(-1, ' ', true);
  for (const auto& [known, format] : kFormats)
    if (word.is_string() && text == known) return format;
  throw ModelError(subject, "must be quantised as float8_e4m3fn, float8_e5m2, int8_tensorwise, mxfp8 or nvfp4, is " +
                                printable(text) + "; take a file of another quantisation");
}

int64_t rotation_of(const nlohmann::json& description, const std::string& subject) {
  const nlohmann::json rotated = description.value("convrot", nlohmann::json(false));
  if (!rotated.is_boolean())
    throw ModelError(subject, "must say true or false for convrot, does not; download it again");
  if (!rotated.get<bool>()) return 0;
  const nlohmann::json size = description.value("convrot_groupsize", nlohmann::json(kUsualRotation));
  const int64_t order = size.is_number_integer() ? size.get<int64_t>() : 0;
  const bool known = order >= 4 && order <= kLargestRotation && std::has_single_bit(uint64_t(order)) &&
                     std::countr_zero(uint64_t(order)) % 2 == 0;
  if (!known)
    throw ModelError(subject, "must have a convrot_groupsize that is a power of 4 up to 65536, has " +
                                  printable(size.dump(-1, ' ', true)) + "; do not use this file");
  return order;
}

LayerMark mark_of(const nlohmann::json& description, const std::string& subject) {
  if (description.is_string()) return {format_of(description, subject)};
  if (!description.is_object() || !description.contains("format"))
    throw ModelError(subject, "must say the format of its layer, does not; download it again");
  const LayerMark mark{format_of(description.at("format"), subject), rotation_of(description, subject)};
  if (mark.rotation && mark.format != LayerFormat::Int8)
    throw ModelError(subject, "must be int8_tensorwise where its rows are rotated (convrot), is " +
                                  std::string(format_word(mark.format)) + "; take a file of another quantisation");
  return mark;
}

}  // namespace

std::string_view format_word(LayerFormat format) {
  for (const auto& [word, known] : kFormats)
    if (known == format) return word;
  return "?";
}

LayerMark read_layer_mark(std::string_view text, const std::string& subject) {
  return mark_of(parsed(text, {.bytes = 64 << 10, .depth = 8, .values = 1000}, subject), subject);
}

std::map<std::string, LayerMark> read_layer_marks(std::string_view text, const std::string& subject) {
  const nlohmann::json json = parsed(text, {.bytes = 16 << 20, .depth = 8, .values = 500'000}, subject);
  if (!json.is_object() || !json.contains("layers") || !json.at("layers").is_object())
    throw ModelError(subject, "must have the layers in _quantization_metadata, does not; download it again");
  std::map<std::string, LayerMark> marks;
  for (const auto& [layer, description] : json.at("layers").items())
    marks.emplace(layer, mark_of(description, subject + ": " + printable(layer)));
  return marks;
}

}  // namespace wan
