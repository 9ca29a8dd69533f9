// Names of the transformers. Sources: wan/modules/model.py and s2v/model_s2v.py; diffusers, transformer_wan.py.
#include "models/names/family.h"

namespace wan::names {
namespace {

// Diffusers numbers the norms of a block by their order in it, the official code by their invention: its norm3 stands
// before cross-attention and is the only one with weights.
constexpr Row kDiffusers[] = {
    {"condition_embedder.time_embedder.linear_1", "time_embedding.0"},
    {"condition_embedder.time_embedder.linear_2", "time_embedding.2"},
    {"condition_embedder.time_proj", "time_projection.1"},
    {"condition_embedder.text_embedder.linear_1", "text_embedding.0"},
    {"condition_embedder.text_embedder.linear_2", "text_embedding.2"},
    {"condition_embedder.image_embedder.norm1", "img_emb.proj.0"},
    {"condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"},
    {"condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"},
    {"condition_embedder.image_embedder.norm2", "img_emb.proj.4"},
    {"condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"},
    {"scale_shift_table", "head.modulation"},
    {"proj_out", "head.head"},
    {"blocks.*.scale_shift_table", "blocks.*.modulation"},
    {"blocks.*.norm2", "blocks.*.norm3"},
    {"blocks.*.attn1.to_q", "blocks.*.self_attn.q"},
    {"blocks.*.attn1.to_k", "blocks.*.self_attn.k"},
    {"blocks.*.attn1.to_v", "blocks.*.self_attn.v"},
    {"blocks.*.attn1.to_out.0", "blocks.*.self_attn.o"},
    {"blocks.*.attn1.norm_q", "blocks.*.self_attn.norm_q"},
    {"blocks.*.attn1.norm_k", "blocks.*.self_attn.norm_k"},
    {"blocks.*.attn2.to_q", "blocks.*.cross_attn.q"},
    {"blocks.*.attn2.to_k", "blocks.*.cross_attn.k"},
    {"blocks.*.attn2.to_v", "blocks.*.cross_attn.v"},
    {"blocks.*.attn2.to_out.0", "blocks.*.cross_attn.o"},
    {"blocks.*.attn2.norm_q", "blocks.*.cross_attn.norm_q"},
    {"blocks.*.attn2.norm_k", "blocks.*.cross_attn.norm_k"},
    {"blocks.*.attn2.add_k_proj", "blocks.*.cross_attn.k_img"},
    {"blocks.*.attn2.add_v_proj", "blocks.*.cross_attn.v_img"},
    {"blocks.*.attn2.norm_added_k", "blocks.*.cross_attn.norm_k_img"},
    {"blocks.*.ffn.net.0.proj", "blocks.*.ffn.0"},
    {"blocks.*.ffn.net.2", "blocks.*.ffn.2"},
};

constexpr Table kTables[] = {kDiffusers};
constexpr Naming kNamings[] = {{"condition_embedder", kTables}, {"blocks.0.attn1", kTables}};

// Marks a file whose matrices are scaled; the scales themselves say which.
constexpr std::string_view kDropped[] = {"scaled_fp8"};

constexpr Rank kRanks[] = {
    {"blocks.*.modulation", 3},          {"head.modulation", 3},
    {"casual_audio_encoder.weights", 4}, {"casual_audio_encoder.encoder.padding_tokens", 4},
    {"patch_embedding.weight", 5},
};

}  // namespace

const Family kTransformer = {.namings = kNamings, .dropped = kDropped, .aliases = {}, .ranks = kRanks};

}  // namespace wan::names
