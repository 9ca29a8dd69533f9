// Names of the text encoder. Sources: wan/modules/t5.py; transformers, modeling_umt5.py; llama.cpp, tensor names of T5.
#include "models/names/family.h"

namespace wan::names {
namespace {

constexpr Row kHuggingFace[] = {
    {"shared", "token_embedding"},
    {"encoder.embed_tokens", "token_embedding"},
    {"encoder.block.*.layer.0.layer_norm", "blocks.*.norm1"},
    {"encoder.block.*.layer.0.SelfAttention.relative_attention_bias", "blocks.*.pos_embedding.embedding"},
    {"encoder.block.*.layer.0.SelfAttention", "blocks.*.attn"},
    {"encoder.block.*.layer.1.layer_norm", "blocks.*.norm2"},
    {"encoder.block.*.layer.1.DenseReluDense.wi_0", "blocks.*.ffn.gate.0"},
    {"encoder.block.*.layer.1.DenseReluDense.wi_1", "blocks.*.ffn.fc1"},
    {"encoder.block.*.layer.1.DenseReluDense.wo", "blocks.*.ffn.fc2"},
    {"encoder.final_layer_norm", "norm"},
};

constexpr Row kGguf[] = {
    {"token_embd", "token_embedding"},
    {"enc.blk.*.attn_norm", "blocks.*.norm1"},
    {"enc.blk.*.attn_q", "blocks.*.attn.q"},
    {"enc.blk.*.attn_k", "blocks.*.attn.k"},
    {"enc.blk.*.attn_v", "blocks.*.attn.v"},
    {"enc.blk.*.attn_o", "blocks.*.attn.o"},
    {"enc.blk.*.attn_rel_b", "blocks.*.pos_embedding.embedding"},
    {"enc.blk.*.ffn_norm", "blocks.*.norm2"},
    {"enc.blk.*.ffn_gate", "blocks.*.ffn.gate.0"},
    {"enc.blk.*.ffn_up", "blocks.*.ffn.fc1"},
    {"enc.blk.*.ffn_down", "blocks.*.ffn.fc2"},
    {"enc.output_norm", "norm"},
};

constexpr Table kHuggingFaceTables[] = {kHuggingFace}, kGgufTables[] = {kGguf};
constexpr Naming kNamings[] = {{"encoder.block", kHuggingFaceTables}, {"enc.blk", kGgufTables}};

// The tokenizer's file, a mark of scaled matrices, and of a whole UMT5 the half that writes text: `decoder` and
// `lm_head`, in GGUF files `dec` and `output`.
constexpr std::string_view kDropped[] = {"spiece_model", "scaled_fp8", "decoder", "lm_head", "dec", "output"};
constexpr Alias kAliases[] = {{"encoder.embed_tokens.weight", "shared.weight"}};

}  // namespace

const Family kUmt5 = {.namings = kNamings, .dropped = kDropped, .aliases = kAliases, .ranks = {}};

}  // namespace wan::names
