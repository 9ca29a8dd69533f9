// Names of the safety checkers. The official ones are those of their published files, as transformers 4 has them:
// "vit.encoder.layer.0.attention.attention.query", "vision_model.vision_model.encoder". What transformers 5 has in memory,
// and diffusers writes with it, are "vit.layers.0.attention.q_proj" and "vision_model.encoder". Source: their state dicts.
#include "models/names/family.h"

namespace wan::names {
namespace {

constexpr Row kVit5[] = {
    {"vit.layers.*.attention.q_proj", "vit.encoder.layer.*.attention.attention.query"},
    {"vit.layers.*.attention.k_proj", "vit.encoder.layer.*.attention.attention.key"},
    {"vit.layers.*.attention.v_proj", "vit.encoder.layer.*.attention.attention.value"},
    {"vit.layers.*.attention.o_proj", "vit.encoder.layer.*.attention.output.dense"},
    {"vit.layers.*.mlp.fc1", "vit.encoder.layer.*.intermediate.dense"},
    {"vit.layers.*.mlp.fc2", "vit.encoder.layer.*.output.dense"},
    {"vit.layers.*", "vit.encoder.layer.*"},
};
constexpr Table kVitTables[] = {kVit5};
constexpr Naming kVitNamings[] = {{"vit.layers", kVitTables}};

// What other uses of a ViT add.
constexpr std::string_view kVitDropped[] = {"vit.pooler", "vit.embeddings.mask_token"};

constexpr Row kClip5[] = {
    {"vision_model.embeddings", "vision_model.vision_model.embeddings"},
    {"vision_model.pre_layrnorm", "vision_model.vision_model.pre_layrnorm"},
    {"vision_model.encoder", "vision_model.vision_model.encoder"},
    {"vision_model.post_layernorm", "vision_model.vision_model.post_layernorm"},
};
constexpr Table kClipTables[] = {kClip5};
constexpr Naming kClipNamings[] = {{"vision_model.embeddings", kClipTables}};

// The numbers from 0 on, which older files hold.
constexpr std::string_view kClipDropped[] = {"vision_model.vision_model.embeddings.position_ids",
                                             "vision_model.embeddings.position_ids"};

}  // namespace

const Family kVit = {.namings = kVitNamings, .dropped = kVitDropped, .aliases = {}, .ranks = {}};
const Family kSafetyChecker = {.namings = kClipNamings, .dropped = kClipDropped, .aliases = {}, .ranks = {}};

}  // namespace wan::names
