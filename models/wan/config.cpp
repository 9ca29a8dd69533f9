#include "models/wan/config.h"

#include "models/files/config_json.h"
#include "models/files/error.h"

namespace wan {

WanConfig WanConfig::parse(const nlohmann::json& members, const std::string& label) {
  const ConfigJson json(members, label);
  WanConfig config{
      .dim = json.size("dim", 1, 1 << 16),
      .ffn_dim = json.size("ffn_dim", 1, 1 << 20),
      .freq_dim = json.size("freq_dim", 2, 1 << 16),
      .in_dim = json.size("in_dim", 1, 1 << 12),
      .out_dim = json.size("out_dim", 1, 1 << 12),
      .num_heads = json.size("num_heads", 1, 1 << 10),
      .num_layers = json.size("num_layers", 1, 1 << 10),
      .text_len = json.size("text_len", 1, 1 << 14),
      .eps = members.contains("eps") ? json.epsilon("eps") : 1e-6,
  };
  auto wrong = [&](const std::string& what) { throw ModelError(label, what); };
  if (config.dim % config.num_heads != 0)
    wrong("dim must be a multiple of num_heads, got " + std::to_string(config.dim) + " and " +
          std::to_string(config.num_heads));
  // Three axes share the pairs of a head: with fewer than three pairs an axis would have none.
  if (config.head_dim() % 2 != 0 || config.head_dim() < 6)
    wrong("dim / num_heads must be even and at least 6, got " + std::to_string(config.head_dim()));
  if (config.freq_dim % 2 != 0) wrong("freq_dim must be even, got " + std::to_string(config.freq_dim));
  return config;
}

WanConfig WanConfig::read(const std::filesystem::path& config_json) {
  const ConfigJson json = ConfigJson::read(config_json);
  return parse(json.json(), json.label());
}

}  // namespace wan
