#include "models/wan/config.h"

#include <charconv>
#include <set>

#include "models/files/config_json.h"
#include "models/files/error.h"
#include "models/names/shapes.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kHead = 128;  // of every published transformer; no tensor tells it
constexpr int64_t kTextLength = 512;
constexpr double kEps = 1e-6;
constexpr int64_t kMostLayers = 1 << 10, kMostHeads = 1 << 10;

/// A size that tensors tell, too: its words in both kinds of config.json, its range, and where it is in the tensors.
struct Size {
  const char *key, *diffusers;
  int64_t WanConfig::*member;
  int64_t least, most;
  const char* tensor;
  size_t axis;
  int64_t divisor = 1;
};

// Diffusers states the width of a head in place of dim.
constexpr Size kSizes[] = {
    {"dim", "attention_head_dim", &WanConfig::dim, 1, 1 << 16, "patch_embedding.bias", 0},
    {"ffn_dim", "ffn_dim", &WanConfig::ffn_dim, 1, 1 << 20, "blocks.0.ffn.0.weight", 0},
    {"freq_dim", "freq_dim", &WanConfig::freq_dim, 2, 1 << 16, "time_embedding.0.weight", 1},
    {"in_dim", "in_channels", &WanConfig::in_dim, 1, 1 << 12, "patch_embedding.weight", 1},
    {"out_dim", "out_channels", &WanConfig::out_dim, 1, 1 << 12, "head.head.weight", 0, WanConfig::patch_values()},
};

int64_t size_of(const StoredTensors& tensors, const Size& size) {
  return names::axis(tensors, size.tensor, size.axis) / size.divisor;
}

/// The numbers N of the tensors "blocks.N.".
std::set<int64_t> blocks_of(const StoredTensors& tensors) {
  const std::string prefix = "blocks.";
  std::set<int64_t> numbers;
  for (auto entry = tensors.lower_bound(prefix); entry != tensors.end() && entry->first.starts_with(prefix); ++entry) {
    const char *begin = entry->first.data() + prefix.size(), *end = entry->first.data() + entry->first.size();
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(begin, end, number);
    if (error == std::errc() && rest != end && *rest == '.' && number >= 0 && number < kMostLayers)
      numbers.insert(number);
  }
  return numbers;
}

/// "block 2", "blocks 2, 5 to 39": those from 0 to `count` - 1 that are not `there`. Empty where all are.
std::string lacking(const std::set<int64_t>& there, int64_t count) {
  constexpr int kMostRuns = 4;
  std::string text;
  int64_t missing = 0;
  int runs = 0;
  for (int64_t first = 0; first < count; ++first) {
    if (there.contains(first)) continue;
    int64_t last = first;
    while (last + 1 < count && !there.contains(last + 1)) ++last;
    missing += last + 1 - first;
    if (++runs <= kMostRuns)
      text += (runs > 1 ? ", " : "") + std::to_string(first) + (last > first ? " to " + std::to_string(last) : "");
    first = last;
  }
  if (missing == 0) return "";
  return (missing == 1 ? "block " : "blocks ") + text + (runs > kMostRuns ? ", ..." : "");
}

/// Throws a ModelError about `label` where one of the first `count` blocks is absent; `why` tells that number's source.
void check_blocks(const StoredTensors& tensors, const std::string& label, int64_t count, const std::string& why) {
  const std::string missing = lacking(blocks_of(tensors), count);
  if (!missing.empty())
    throw ModelError(label, "must have the blocks 0 to " + std::to_string(count - 1) + ", " + why + ", lacks " +
                                missing + ": it is incomplete; download it again");
}

/// Where nothing states the number of blocks, a file that lacks its last ones looks like a smaller network. Of the
/// width of the published transformers that is told.
void check_published_depth(const WanConfig& config, const StoredTensors& tensors, const std::string& label) {
  if (config.dim != kWanT2vA14b.dim) return;
  const std::string width = std::to_string(config.dim) + " wide";
  check_blocks(tensors, label, kWanT2vA14b.num_layers, "as every published transformer that is " + width);
  if (config.num_layers > kWanT2vA14b.num_layers)
    throw ModelError(label, "must have " + std::to_string(kWanT2vA14b.num_layers) +
                                " blocks where no config.json states them, as every published transformer that is " +
                                width + ", has " + std::to_string(config.num_layers) +
                                "; put its config.json beside it");
}

/// The switches of diffusers' classes in the only positions that this transformer has.
void check_diffusers(const ConfigJson& json) {
  for (const char* absent : {"added_kv_proj_dim", "image_dim", "pos_embed_seq_len", "vace_layers"})
    json.expect(absent, nullptr);
  const auto if_there = [&](const char* key, const nlohmann::json& want) {
    if (json.json().contains(key)) json.expect(key, want);
  };
  if_there("_class_name", "WanTransformer3DModel");
  if_there("patch_size", WanConfig::kPatch);
  if_there("qk_norm", "rms_norm_across_heads");
  if_there("cross_attn_norm", true);
}

void check_widths(const WanConfig& config, const std::string& label) {
  const auto wrong = [&](const std::string& what) { throw ModelError(label, what); };
  if (config.dim % config.num_heads != 0)
    wrong("dim must be a multiple of num_heads, got " + std::to_string(config.dim) + " and " +
          std::to_string(config.num_heads));
  // Three axes share the pairs of a head: with fewer than three pairs an axis would have none.
  if (config.head_dim() % 2 != 0 || config.head_dim() < 6)
    wrong("dim / num_heads must be even and at least 6, got " + std::to_string(config.head_dim()));
  if (config.freq_dim % 2 != 0) wrong("freq_dim must be even, got " + std::to_string(config.freq_dim));
}

}  // namespace

WanConfig WanConfig::parse(const nlohmann::json& members, const std::string& label) {
  const ConfigJson json(members, label);
  const bool diffusers = members.contains("attention_head_dim");
  if (diffusers) check_diffusers(json);
  WanConfig config{};
  for (const Size& size : kSizes)
    config.*size.member = json.size(diffusers ? size.diffusers : size.key, size.least, size.most);
  config.num_heads = json.size(diffusers ? "num_attention_heads" : "num_heads", 1, kMostHeads);
  config.num_layers = json.size("num_layers", 1, kMostLayers);
  if (diffusers) config.dim *= config.num_heads;
  json.require(config.dim <= kSizes[0].most, "attention_head_dim * num_attention_heads must be at most 65536");
  config.text_len = diffusers ? kTextLength : json.size("text_len", 1, 1 << 14);
  config.eps = members.contains("eps") ? json.epsilon("eps") : kEps;
  check_widths(config, label);
  return config;
}

WanConfig WanConfig::read(const fs::path& config_json) {
  const ConfigJson json = ConfigJson::read(config_json);
  return parse(json.json(), json.label());
}

WanConfig WanConfig::of(const StoredTensors& tensors, const std::string& label) {
  WanConfig config{};
  config.text_len = kTextLength;
  config.eps = kEps;
  const auto take = [&](const std::string& where, const char* key, int64_t value, int64_t least, int64_t most) {
    if (value == 0 && where.find(' ') == std::string::npos && !tensors.contains(where))
      throw ModelError(label + ": " + where, "is absent, and " + std::string(key) +
                                                 " is read off it where no config.json states it; take the file of a "
                                                 "whole transformer");
    if (value < least || value > most)
      throw ModelError(label, "must tell " + std::string(key) + " by " + where + ", from " + std::to_string(least) +
                                  " to " + std::to_string(most) + ", gives " + std::to_string(value) +
                                  "; is it a whole transformer?");
    return value;
  };
  for (const Size& size : kSizes)
    config.*size.member = take(size.tensor, size.key, size_of(tensors, size), size.least, size.most);
  if (const std::set<int64_t> there = blocks_of(tensors); !there.empty())
    check_blocks(tensors, label, *there.rbegin() + 1, "as the number of its last one says");
  config.num_layers = take("the number of its blocks", "num_layers", names::count(tensors, "blocks"), 1, kMostLayers);
  if (config.dim % kHead != 0)
    throw ModelError(label, "must be a multiple of " + std::to_string(kHead) +
                                " wide, the width of a head, where no config.json states the heads, is " +
                                std::to_string(config.dim) + " wide; put its config.json beside it");
  config.num_heads = config.dim / kHead;
  check_widths(config, label);
  return config;
}

WanConfig WanConfig::find(const fs::path& config_json, const StoredTensors& tensors, const std::string& label) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(config_json, error))) {
    const WanConfig told = of(tensors, label);
    check_published_depth(told, tensors, label);
    return told;
  }
  const ConfigJson json = ConfigJson::read(config_json);
  const WanConfig config = parse(json.json(), json.label());
  config.check(tensors, label, json.label());
  if (json.json().contains("text_dim"))
    check_size(json.label(), "text_dim", json.size("text_dim", 1, 1 << 16), label,
               names::axis(tensors, "text_embedding.0.weight", 1));
  return config;
}

void WanConfig::check(const StoredTensors& tensors, const std::string& label, const std::string& file) const {
  for (const Size& size : kSizes) check_size(file, size.key, this->*size.member, label, size_of(tensors, size));
  // Fewer blocks than are stated are a file that lacks some; more are a config.json of another model.
  if (!blocks_of(tensors).empty()) check_blocks(tensors, label, num_layers, "as " + shown_name(file, true) + " states");
  check_size(file, "num_layers", num_layers, label, names::count(tensors, "blocks"));
}

void check_size(const std::string& config, const char* key, int64_t value, const std::string& label,
                int64_t of_tensors) {
  if (of_tensors == 0 || of_tensors == value) return;
  throw ModelError(config, std::string(key) + " must be " + std::to_string(of_tensors) + ", as in the tensors of " +
                               shown_name(label, true) + ", is " + std::to_string(value) +
                               "; take the config.json of this model");
}

}  // namespace wan
