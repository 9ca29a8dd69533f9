#include "tools/cli/environment.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

namespace wan {
namespace {

using kernels::Wgmma;

std::string value_of(const char* variable) {
  const char* value = std::getenv(variable);
  return value ? value : "";
}

/// "a, b or c".
std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text += (i == 0 ? "" : i + 1 < words.size() ? ", " : " or ") + words[i];
  return text;
}

/// The index of the variable's value among `words`, of which one stands for the variable unset.
size_t choice_of(const char* variable, const std::vector<std::string>& words, size_t unset) {
  const std::string value = value_of(variable);
  if (value.empty()) return unset;
  const auto found = std::find(words.begin(), words.end(), value);
  if (found == words.end())
    throw EnvironmentError("[" + std::string(variable) + "] must be " + listed(words) + ", got " + value);
  return size_t(found - words.begin());
}

std::vector<std::string> attention_off() {
  constexpr const char* kVariable = "WAN_ATTENTION_OFF";
  std::vector<std::string> known(kernels::kAttentionBackends.begin(), kernels::kAttentionBackends.end());
  known.emplace_back(kernels::kHalfSums);
  std::vector<std::string> off;
  std::istringstream names(value_of(kVariable));
  for (std::string name; std::getline(names, name, ',');) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw EnvironmentError("[" + std::string(kVariable) + "] must be names out of " + listed(known) +
                             " with commas between, got " + value_of(kVariable));
    off.push_back(name);
  }
  return off;
}

/// What the user's cache has under this name; empty where the environment names no cache.
std::filesystem::path in_cache(const char* name) {
  const std::string cache = value_of("XDG_CACHE_HOME"), home = value_of("HOME");
  if (!cache.empty()) return std::filesystem::path(cache) / "wan-infer" / name;
  if (!home.empty()) return std::filesystem::path(home) / ".cache" / "wan-infer" / name;
  return {};
}

}  // namespace

std::string expander_key() {
  const std::string key = value_of("WAN_EXPANDER_KEY");
  const bool plain = std::all_of(key.begin(), key.end(), [](unsigned char c) { return c > ' ' && c < 127; });
  if (!plain || key.size() > 4096)
    throw EnvironmentError(
        "[WAN_EXPANDER_KEY] must be one word of at most 4096 ASCII letters, digits and marks, without blanks and line "
        "breaks");
  return key;
}

kernels::Options options_of_environment() {
  constexpr Wgmma kUses[] = {Wgmma::Off, Wgmma::Measured, Wgmma::On};
  return {.reference = choice_of("WAN_KERNELS", {"fused", "reference"}, 0) == 1,
          .wgmma = kUses[choice_of("WAN_WGMMA", {"off", "measured", "on"}, 1)],
          .attention_off = attention_off()};
}

std::string allocator_settings(const std::filesystem::path& root) {
  for (const char* variable : {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"})
    if (std::getenv(variable)) return "";
  std::error_code ignored;
  return std::filesystem::exists(root / "dev/dxg", ignored) ? "" : "expandable_segments:True";
}

std::filesystem::path attention_cache_path() {
  return in_cache("attention.json");
}

std::filesystem::path preview_cache_path() {
  return in_cache("previews");
}

}  // namespace wan
