#include "engine/request/lora_expert.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/noise_name.h"
#include "models/files/error.h"
#include "models/files/json.h"
#include "models/files/mapped_file.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kField = "loras";
constexpr JsonLimits kLargestHeader = {.bytes = 16 << 20, .values = 1'000'000};

/// The JSON that a safetensors file begins with; empty where the file cannot be one.
std::string_view header_of(const MappedFile& file) {
  const std::string_view bytes = file.bytes();
  uint64_t length = 0;
  if (bytes.size() < sizeof length) return {};
  std::memcpy(&length, bytes.data(), sizeof length);
  return length > bytes.size() - sizeof length ? std::string_view() : bytes.substr(sizeof length, size_t(length));
}

}  // namespace

Experts keyed_experts(const fs::path& path) {
  Experts found;
  try {
    const auto file = MappedFile::open(path);
    const nlohmann::json header = parse_json(header_of(*file), kLargestHeader);
    if (!header.is_object()) return found;
    for (const auto& [key, tensor] : header.items()) {
      found.high = found.high || key.starts_with("transformer.");
      found.low = found.low || key.starts_with("transformer_2.");
    }
  } catch (const ModelError&) {
    return {};  // told where the file is opened as a LoRA
  } catch (const BrokenJson&) {
    return {};
  }
  return found;
}

std::optional<Experts> told_experts(const Lora& lora, const Experts& keys) {
  if (!lora.transformer.empty()) return Experts{lora.transformer != "low", lora.transformer != "high"};
  if (keys.low) return keys;
  const fs::path path = lora.path;
  const std::optional<NoiseLevel> level = noise_level(path, path.filename());
  if (!level) return std::nullopt;
  return Experts{*level == NoiseLevel::High, *level == NoiseLevel::Low};
}

Experts experts_of(const Lora& lora, const Experts& keys) {
  if (const std::optional<Experts> told = told_experts(lora, keys)) return *told;
  const fs::path path = lora.path;
  throw InvalidRequest(kField, "must be for an expert, and the name of " + shown_path(lora.path) + " " +
                                   without_level(path, path.filename()) + "; write FILE@high, FILE@low or FILE@both");
}

void check_scales(const Lora& lora, const LoraScales& scales, bool high, const char* transformer) {
  const int64_t steps = scales.steps(high);
  if (lora.scales.size() > 1 && std::ssize(lora.scales) > steps)
    throw InvalidRequest(kField, "must have no more scales than the " + std::string(transformer) + " makes steps (" +
                                     std::to_string(steps) + "), and " + shown_path(lora.path) + " has " +
                                     std::to_string(lora.scales.size()) + "; give one for each step, or fewer");
}

}  // namespace wan
