#include "models/recognise.h"

#include <algorithm>
#include <string_view>

#include "models/files/error.h"
#include "models/names/family.h"
#include "models/names/shapes.h"

namespace wan {
namespace {

using names::axis;
using names::count;
using names::has;

/// A path that tells a network which this program does not run.
struct Sign {
  std::string_view path, name;
};

/// By official names, in this order: several signs may be in one file.
constexpr Sign kVariants[] = {
    {"vace_patch_embedding", "Wan VACE transformer"},
    {"audio_proj.audio_proj_glob_1", "HuMo transformer"},
    {"audio_proj", "MultiTalk transformer"},
    {"face_adapter", "Wan Animate transformer"},
    {"pose_patch_embedding", "Wan Animate transformer"},
    {"motion_encoder", "Wan Animate transformer"},
    {"img_emb.emb_pos", "Wan 2.1 first-last-frame-to-video transformer (needs CLIP)"},
    {"img_emb", "Wan 2.1 image-to-video transformer (needs CLIP)"},
};

/// By the names of their files.
constexpr Sign kOthers[] = {
    {"concept_embeds", "Stable Diffusion safety checker"},
    {"vit.embeddings", "image classifier (ViT)"},
    {"vision_model", "CLIP image encoder"},
    {"visual.transformer", "CLIP image encoder"},
    {"visual.blocks", "CLIP image encoder"},
    {"text_model.encoder", "CLIP text encoder"},
    {"textual", "CLIP text encoder"},
    {"block0.conv0", "RIFE frame interpolation"},
    {"module.block0.conv0", "RIFE frame interpolation"},
    {"predict_flow", "FILM frame interpolation"},
    {"net.slice1.0", "LPIPS (distance of pictures)"},
    {"lin0.model", "LPIPS without its backbone (distance of pictures)"},
    {"features.0", "image classifier (AlexNet, VGG)"},
    {"distilbert", "text classifier (DistilBERT)"},
    {"model.encoder.embed_positions", "Whisper audio encoder"},
    {"first_stage_model", "several networks in one file"},
    {"cond_stage_model", "several networks in one file"},
    {"text_encoders", "several networks in one file"},
    {"double_blocks", "diffusion model of another family (Flux, HunyuanVideo)"},
    {"joint_blocks", "diffusion model of another family (Stable Diffusion 3)"},
    {"input_blocks", "diffusion model of another family (Stable Diffusion)"},
    {"down_blocks", "diffusion model of another family (Stable Diffusion)"},
    {"transformer_blocks", "diffusion model of another family (LTX-Video, CogVideoX, Flux)"},
};

template <size_t N>
const Sign* find_sign(const Sign (&signs)[N], const StoredTensors& tensors) {
  const Sign* found = std::find_if(signs, signs + N, [&](const Sign& sign) { return has(tensors, sign.path); });
  return found == signs + N ? nullptr : found;
}

/// Whether a name is that of a change to a weight: low-rank factors, or whole differences.
bool is_of_lora(std::string_view name) {
  constexpr std::string_view kParts[] = {".lora_", ".lora.", "_lora.", ".hada_w", ".lokr_w"};
  constexpr std::string_view kEnds[] = {".diff", ".diff_b", ".diff_m", ".dora_scale", ".w_norm", ".b_norm"};
  const auto in = [&](std::string_view part) { return name.find(part) != name.npos; };
  const auto at_end = [&](std::string_view end) { return name.ends_with(end); };
  return std::any_of(std::begin(kParts), std::end(kParts), in) ||
         std::any_of(std::begin(kEnds), std::end(kEnds), at_end);
}

/// The transformers of Wan 2.1 and 2.2 that are trained for control: their further inputs are told by channels.
std::optional<Recognised> control_transformer(const StoredTensors& tensors, int64_t in_dim) {
  if (has(tensors, "control_adapter"))
    return Recognised{{},
                      has(tensors, "img_emb") ? "Wan 2.1 Fun Camera transformer" : "Wan 2.2 Fun Camera transformer"};
  if (has(tensors, "ref_conv"))
    return Recognised{{}, in_dim == 48 ? "Wan 2.1 Fun Control transformer" : "Wan 2.2 Fun Control transformer"};
  return std::nullopt;
}

Recognised transformer(const StoredTensors& tensors) {
  constexpr int64_t kPatchValues = 4, kLatent = 16, kImage = 36, kWideLatent = 48;
  const int64_t in_dim = axis(tensors, "patch_embedding.weight", 1);
  const int64_t out_dim = axis(tensors, "head.head.weight", 0) / kPatchValues;
  if (auto control = control_transformer(tensors, in_dim)) return *control;
  if (has(tensors, "casual_audio_encoder") || has(tensors, "audio_injector"))
    return {Model::Speech, "speech-to-video transformer"};
  if (const Sign* sign = find_sign(kVariants, tensors)) return {{}, std::string(sign->name)};
  if (in_dim == kWideLatent && out_dim == kWideLatent) return {{}, "Wan 2.2 TI2V-5B transformer"};
  if (out_dim != 0 && out_dim != kLatent)
    return {{}, "unknown transformer with " + std::to_string(out_dim) + " output channels"};
  if (in_dim == kLatent && axis(tensors, "patch_embedding.weight", 0) == 1536 && count(tensors, "blocks") == 30)
    return {{}, "Wan 2.1 T2V-1.3B transformer"};
  if (in_dim == kLatent) return {Model::TextExpert, "text-to-video transformer"};
  if (in_dim == kImage) return {Model::ImageExpert, "image-to-video transformer"};
  return {{}, "unknown transformer with " + std::to_string(in_dim) + " input channels"};
}

/// UMT5 has a table of relative positions in each block and a gated feed-forward; T5 and mT5 have one table.
Recognised text_encoder(const StoredTensors& tensors) {
  struct Vocabulary {
    int64_t rows;
    const char* name;
  };
  constexpr Vocabulary kForeign[] = {{32128, "T5 text encoder"}, {250112, "mT5 text encoder"}};
  const std::string needs = " (Wan takes umt5-xxl)";
  for (const Vocabulary& foreign : kForeign)
    if (axis(tensors, "token_embedding.weight", 0) == foreign.rows) return {{}, foreign.name + needs};
  const int64_t blocks = count(tensors, "blocks");
  for (int64_t block = 0; block < blocks; ++block) {
    const std::string path = "blocks." + std::to_string(block);
    if (!has(tensors, path + ".pos_embedding") || !has(tensors, path + ".ffn.gate"))
      return {{}, "T5 text encoder" + needs};
  }
  return {Model::TextEncoder, "UMT5 encoder"};
}

Recognised vae(const StoredTensors& tensors) {
  const int64_t latent = axis(tensors, "conv2.weight", 0);
  if (has(tensors, "decoder.upsamples.0.upsamples") || latent == 48)
    return {{}, "Wan 2.2 VAE (of TI2V-5B; the 14B models take that of Wan 2.1)"};
  const auto first = tensors.find("encoder.conv1.weight");
  const bool is_video = first != tensors.end() && first->second.shape.size() == 5;
  if (!is_video || !has(tensors, "decoder.middle.0.residual.0.gamma")) return {{}, "VAE of another family"};
  if (latent != 16) return {{}, "VAE with " + std::to_string(latent) + " latent channels"};
  return {Model::Vae, "Wan 2.1 VAE"};
}

/// The tiny autoencoders of the TAE family: two lists of layers without other names.
std::optional<Recognised> tiny_vae(const StoredTensors& tensors) {
  if (!has(tensors, "decoder.3.conv") && !has(tensors, "encoder.4.conv")) return std::nullopt;
  const int64_t latent = axis(tensors, "decoder.1.weight", 1);
  return Recognised{{}, latent == 48 ? "tiny VAE (taew2_2)" : "tiny VAE (taew2_1)"};
}

/// Only the kind with a norm after every convolution is run. Those of 48 blocks (XLS-R 1B and 2B) have heads that are
/// not 64 wide, which no tensor tells.
Recognised audio_encoder(const StoredTensors& tensors) {
  const std::string needs = " (speech to video takes wav2vec2-large-xlsr-53)";
  if (!has(tensors, "wav2vec2.feature_extractor.conv_layers.1.layer_norm"))
    return {{}, "Wav2Vec2 audio encoder with one norm, as wav2vec2-base" + needs};
  if (const int64_t layers = count(tensors, "wav2vec2.encoder.layers"); layers == 48)
    return {{}, "Wav2Vec2 audio encoder of 48 layers, as XLS-R 1B" + needs};
  return {Model::AudioEncoder, "Wav2Vec2 audio encoder"};
}

/// A family, what its tensors have in all namings once they are translated, and what tells which of it they are.
struct Kind {
  const names::Family& family;
  std::string_view first, second;
  Recognised (*recognise)(const StoredTensors& official);
};

const Kind kKinds[] = {
    {names::kTransformer, "patch_embedding", "blocks.0.self_attn.q", transformer},
    {names::kUmt5, "token_embedding", "blocks.0.attn.q", text_encoder},
    {names::kVae, "encoder.conv1", "decoder.conv1", vae},
    {names::kWav2Vec2, "wav2vec2.feature_projection", "wav2vec2.encoder", audio_encoder},
};

const names::Family& family_of(Model model) {
  switch (model) {
    case Model::TextExpert:
    case Model::ImageExpert:
    case Model::Speech:
      return names::kTransformer;
    case Model::TextEncoder:
      return names::kUmt5;
    case Model::Vae:
      return names::kVae;
    case Model::AudioEncoder:
      return names::kWav2Vec2;
  }
  return names::kTransformer;
}

}  // namespace

Recognised recognise(const StoredTensors& tensors) {
  if (std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) { return is_of_lora(entry.first); }))
    return {{}, "LoRA", Other::Lora};
  for (const Kind& kind : kKinds) {
    const StoredTensors official = names::official(tensors, kind.family).tensors;
    if (has(official, kind.first) && has(official, kind.second)) return kind.recognise(official);
  }
  if (auto tiny = tiny_vae(tensors)) return *tiny;
  if (const Sign* sign = find_sign(kOthers, tensors)) return {{}, std::string(sign->name)};
  return {{}, "unknown network", Other::Unknown};
}

StoredTensors official_names(StoredTensors tensors, Model model, const std::string& label) {
  names::Official official = names::official(std::move(tensors), family_of(model));
  if (!official.twice.empty())
    throw ModelError(label, "must have each tensor once, has " + printable(official.twice) +
                                " by two names; download it again, or take another file of the model");
  if (!official.scaled.empty())
    throw ModelError(label + ": " + printable(official.scaled),
                     "must have its official axes where it has scales of its parts, has others; take a file of another "
                     "quantisation");
  return std::move(official.tensors);
}

}  // namespace wan
