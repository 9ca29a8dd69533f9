#include "models/wan/config.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "models/error.h"

namespace wan {
namespace {

/// A config.json of a stranger may be anything, so no more than this is read.
constexpr size_t kLongestConfig = 1 << 20;

int64_t read_size(const nlohmann::json& json, const std::string& label, const char* key, int64_t least, int64_t most) {
  auto found = json.find(key);
  std::string wanted =
      std::string(key) + " must be an integer from " + std::to_string(least) + " to " + std::to_string(most);
  if (found == json.end()) throw ModelError(label, wanted + ", got none");
  // An unsigned value beyond int64 would wrap; it is out of range in any case.
  bool integer =
      found->is_number_integer() && !(found->is_number_unsigned() && found->get<uint64_t>() > uint64_t(most));
  if (!integer || found->get<int64_t>() < least || found->get<int64_t>() > most)
    throw ModelError(
        label, wanted + ", got " + found->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 40));
  return found->get<int64_t>();
}

}  // namespace

WanConfig WanConfig::parse(const nlohmann::json& json, const std::string& label) {
  if (!json.is_object()) throw ModelError(label, "must be a JSON object");
  WanConfig config{
      .dim = read_size(json, label, "dim", 1, 1 << 16),
      .ffn_dim = read_size(json, label, "ffn_dim", 1, 1 << 20),
      .freq_dim = read_size(json, label, "freq_dim", 2, 1 << 16),
      .in_dim = read_size(json, label, "in_dim", 1, 1 << 12),
      .out_dim = read_size(json, label, "out_dim", 1, 1 << 12),
      .num_heads = read_size(json, label, "num_heads", 1, 1 << 10),
      .num_layers = read_size(json, label, "num_layers", 1, 1 << 10),
      .text_len = read_size(json, label, "text_len", 1, 1 << 14),
      .eps = 1e-6,
  };
  auto eps = json.find("eps");
  if (eps != json.end()) {
    config.eps = eps->is_number() ? eps->get<double>() : -1;
    if (!(config.eps >= 0 && config.eps < 1)) throw ModelError(label, "eps must be a number from 0 to below 1");
  }
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
  std::ifstream in(config_json, std::ios::binary);
  if (!in)
    throw ModelError(config_json.string(),
                     "the transformer's config.json is absent or unreadable; the folder of an expert holds one");
  std::string text(kLongestConfig + 1, '\0');
  in.read(text.data(), std::streamsize(text.size()));
  text.resize(size_t(in.gcount()));
  if (text.size() > kLongestConfig) throw ModelError(config_json.string(), "must be JSON of at most 1 MB");
  // Deep nesting would recurse in the parser's result; a config is flat.
  auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) { return depth < 16; };
  nlohmann::json json = nlohmann::json::parse(text, shallow, false);
  if (json.is_discarded()) throw ModelError(config_json.string(), "must be JSON, but it does not parse");
  return parse(json, config_json.string());
}

}  // namespace wan
