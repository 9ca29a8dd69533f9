#include "models/weights/lora/names.h"

#include <algorithm>
#include <iterator>

namespace wan::lora {
namespace {

struct Ending {
  std::string_view text;
  Part part;
};

/// Longer ones before those that they end in.
constexpr Ending kEndings[] = {
    {".lora_linear_layer.down.weight", Part::Down},
    {".lora_linear_layer.up.weight", Part::Up},
    {".lora_A.default.weight", Part::Down},
    {".lora_B.default.weight", Part::Up},
    {".lora_down.weight", Part::Down},
    {".lora_up.weight", Part::Up},
    {".lora_mid.weight", Part::Mid},
    {".lora.down.weight", Part::Down},
    {".lora.up.weight", Part::Up},
    {"_lora.down.weight", Part::Down},
    {"_lora.up.weight", Part::Up},
    {".lora_A.weight", Part::Down},
    {".lora_B.weight", Part::Up},
    {".lora_A", Part::Down},
    {".lora_B", Part::Up},
    {".alpha", Part::Alpha},
    {".dora_scale", Part::DoraScale},
    {".lora_magnitude_vector.default.weight", Part::DoraScale},
    {".lora_magnitude_vector.weight", Part::DoraScale},
    {".lora_magnitude_vector", Part::DoraScale},
    {".diff", Part::Diff},
    {".diff_b", Part::DiffBias},
    {".diff_m", Part::DiffPlain},
    {".w_norm", Part::Diff},
    {".b_norm", Part::DiffBias},
    {".hada_w1_a", Part::Hada1A},
    {".hada_w1_b", Part::Hada1B},
    {".hada_w2_a", Part::Hada2A},
    {".hada_w2_b", Part::Hada2B},
    {".hada_t1", Part::Tucker},
    {".hada_t2", Part::Tucker},
    {".lokr_w1", Part::W1},
    {".lokr_w1_a", Part::W1A},
    {".lokr_w1_b", Part::W1B},
    {".lokr_w2", Part::W2},
    {".lokr_w2_a", Part::W2A},
    {".lokr_w2_b", Part::W2B},
    {".lokr_t2", Part::Tucker},
    {".set_weight", Part::Replacement},
    {".reshape_weight", Part::Replacement},
};

/// What programs put before the names of a network, longest first.
constexpr std::string_view kPrefixes[] = {"base_model.model.",
                                          "model.diffusion_model.",
                                          "diffusion_model.",
                                          "transformer_2.",
                                          "transformer.",
                                          "pipe.dit.",
                                          "model.",
                                          "unet.",
                                          "dit."};
/// So many stand before one name at most ("base_model.model.transformer."): a hostile one may have a million.
constexpr int kMostPrefixes = 4;
constexpr std::string_view kFlatPrefixes[] = {"lora_transformer_", "lora_unet__", "lora_unet_", "lycoris_", "lora_"};

/// Parts of names by which the LoRAs of other families are told.
struct Sign {
  const char *part, *family;
};
constexpr Sign kSigns[] = {
    {"single_transformer_blocks", "Flux"},
    {"single_blocks", "Flux or HunyuanVideo"},
    {"double_blocks", "Flux or HunyuanVideo"},
    {"q_loras", "Flux, in the form of XLabs"},
    {"joint_transformer_blocks", "Stable Diffusion 3"},
    {"joint_blocks", "Stable Diffusion 3"},
    {"down_blocks", "Stable Diffusion"},
    {"input_blocks", "Stable Diffusion"},
    {"audio_injector", "Wan 2.2 S2V"},
    {"motion_encoder", "Wan 2.2 Animate"},
    {"transformer_blocks", "LTX-Video, CogVideoX or Qwen-Image"},
    {"text_model_encoder", "a text encoder alone"},
};

struct Spelling {
  std::string_view official, diffusers;
};
/// Parts of module names in which diffusers differs.
constexpr Spelling kSpellings[] = {
    {"time_embedding.0", "condition_embedder.time_embedder.linear_1"},
    {"time_embedding.2", "condition_embedder.time_embedder.linear_2"},
    {"text_embedding.0", "condition_embedder.text_embedder.linear_1"},
    {"text_embedding.2", "condition_embedder.text_embedder.linear_2"},
    {"time_projection.1", "condition_embedder.time_proj"},
    {"head.head", "proj_out"},
    {".self_attn.q", ".attn1.to_q"},
    {".self_attn.k", ".attn1.to_k"},
    {".self_attn.v", ".attn1.to_v"},
    {".self_attn.o", ".attn1.to_out.0"},
    {".self_attn.", ".attn1."},
    {".cross_attn.q", ".attn2.to_q"},
    {".cross_attn.k", ".attn2.to_k"},
    {".cross_attn.v", ".attn2.to_v"},
    {".cross_attn.o", ".attn2.to_out.0"},
    {".cross_attn.", ".attn2."},
    {".ffn.0", ".ffn.net.0.proj"},
    {".ffn.2", ".ffn.net.2"},
    {".norm3", ".norm2"},
};

constexpr std::string_view kHighPart = "transformer.", kLowPart = "transformer_2.";

std::string diffusers_name(const std::string& official) {
  for (const Spelling& spelling : kSpellings) {
    const size_t at = official.find(spelling.official);
    if (at != std::string::npos)
      return official.substr(0, at) + std::string(spelling.diffusers) + official.substr(at + spelling.official.size());
  }
  return official;
}

std::string flattened(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

}  // namespace

std::optional<Key> split(std::string_view key) {
  for (const Ending& ending : kEndings)
    if (key.size() > ending.text.size() && key.ends_with(ending.text))
      return Key{key.substr(0, key.size() - ending.text.size()), ending.part};
  return std::nullopt;
}

void Modules::Names::add(const std::string& spelled, const std::string& official) {
  dotted.emplace(spelled, official);
  flat.emplace(flattened(spelled), official);
}

std::optional<std::string> Modules::Names::find(std::string_view spelled) const {
  const auto look = [](const auto& names, std::string_view name) -> std::optional<std::string> {
    const auto found = names.find(name);
    return found == names.end() ? std::nullopt : std::optional(found->second);
  };
  for (int stripped = 0; stripped <= kMostPrefixes; ++stripped) {
    if (auto found = look(dotted, spelled)) return found;
    for (std::string_view prefix : kFlatPrefixes)
      if (spelled.starts_with(prefix))
        if (auto found = look(flat, spelled.substr(prefix.size()))) return found;
    const auto begins_with = [&](std::string_view prefix) { return spelled.starts_with(prefix); };
    const auto found = std::find_if(std::begin(kPrefixes), std::end(kPrefixes), begins_with);
    if (found == std::end(kPrefixes)) return std::nullopt;
    spelled.remove_prefix(found->size());
  }
  return std::nullopt;
}

Modules::Modules(const StoredTensors& network) {
  for (const auto& [name, tensor] : network) {
    const size_t dot = name.rfind('.');
    if (dot == std::string::npos) continue;
    const std::string module = name.substr(0, dot);
    if (name.substr(dot) == ".modulation") {
      holders_.add(module, module);
      modulations_.add(name, module);
      modulations_.add(module == "head" ? "scale_shift_table" : module + ".scale_shift_table", module);
    } else {
      modules_.add(module, module);
      modules_.add(diffusers_name(module), module);
    }
  }
}

std::optional<Modules::Found> Modules::find(const Key& key) const {
  const auto found = [](std::optional<std::string> module, Part part) {
    return module ? std::optional(Found{std::move(*module), part}) : std::nullopt;
  };
  if (key.part == Part::DiffPlain) return found(holders_.find(key.module), key.part);
  if (auto module = modules_.find(key.module)) return Found{std::move(*module), key.part};
  if (key.part == Part::Diff) return found(modulations_.find(key.module), Part::DiffPlain);
  return std::nullopt;
}

std::string_view spelling(std::string_view module) {
  for (std::string_view prefix : kFlatPrefixes)
    if (module.starts_with(prefix)) return "flattened";
  for (std::string_view word :
       {".attn1.", ".attn2.", "condition_embedder.", ".ffn.net.", "proj_out", "scale_shift_table"})
    if (module.find(word) != std::string_view::npos) return "diffusers";
  return "official";
}

std::string_view exemption(std::string_view spelled) {
  for (std::string_view word :
       {"k_img", "v_img", "norm_k_img", "img_emb", "add_k_proj", "add_v_proj", "norm_added_k", "image_embedder"})
    if (spelled.find(word) != std::string_view::npos) return "image tokens of Wan 2.1, which Wan 2.2 does not have";
  return "";
}

bool is_of_text_encoder(std::string_view spelled) {
  return spelled.starts_with("lora_te") || spelled.starts_with("text_encoder") || spelled.starts_with("text_model");
}

std::string_view family_of(const std::vector<std::string>& keys) {
  for (const Sign& sign : kSigns)
    for (const std::string& key : keys)
      if (key.find(sign.part) != key.npos) return sign.family;
  return "";
}

Halves halves_of(const StoredTensors& tensors) {
  Halves halves;
  for (const auto& [key, tensor] : tensors) {
    halves.high = halves.high || key.starts_with(kHighPart);
    halves.low = halves.low || key.starts_with(kLowPart);
  }
  return halves;
}

StoredTensors half_of(StoredTensors tensors, Half half) {
  if (halves_of(tensors).both())
    std::erase_if(tensors, [other = half == Half::High ? kLowPart : kHighPart](const auto& entry) {
      return entry.first.starts_with(other);
    });
  return tensors;
}

}  // namespace wan::lora
