#include "models/weights/quantised/modelopt.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "models/files/json.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRead[] = {"FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO", "NVFP4", "W4A16_NVFP4"};

/// The object in which the ways stand; null where a file is absent or another program's.
nlohmann::json description_of(const fs::path& folder) {
  std::error_code error;
  const JsonLimits limits = {.bytes = 16 << 20, .depth = 16, .values = 500'000};
  const fs::path own = folder / "hf_quant_config.json", config = folder / "config.json";
  if (fs::exists(own, error)) {
    const nlohmann::json json = read_json(*MappedFile::open(own), limits);
    return json.is_object() ? json.value("quantization", nlohmann::json()) : nlohmann::json();
  }
  if (!fs::exists(config, error)) return {};
  const nlohmann::json json = read_json(*MappedFile::open(config), limits);
  const nlohmann::json found =
      json.is_object() ? json.value("quantization_config", nlohmann::json()) : nlohmann::json();
  const bool by_modelopt = found.is_object() && found.value("quant_method", nlohmann::json()) == "modelopt";
  return by_modelopt ? found : nlohmann::json();
}

/// "quant_algo" where it is a word.
std::string way_of(const nlohmann::json& description) {
  const nlohmann::json word =
      description.is_object() ? description.value("quant_algo", nlohmann::json()) : nlohmann::json();
  return word.is_string() ? word.get<std::string>() : "";
}

}  // namespace

std::set<std::string> modelopt_ways(const fs::path& folder) {
  const nlohmann::json description = description_of(folder);
  std::set<std::string> ways;
  if (!description.is_object()) return ways;
  ways.insert(way_of(description));
  if (ways.erase("MIXED_PRECISION") && description.contains("quantized_layers"))
    for (const auto& layer : description.at("quantized_layers")) ways.insert(way_of(layer));
  for (const std::string& way : ways)
    if (std::find(std::begin(kRead), std::end(kRead), way) == std::end(kRead))
      throw ModelError(folder.string(), "must be quantised as FP8 or NVFP4 by its quant_algo, is \"" + printable(way) +
                                            "\"; take a folder of another quantisation");
  return ways;
}

}  // namespace wan
