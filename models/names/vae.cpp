// Names of the Wan 2.1 VAE. Sources: wan/modules/vae2_1.py; diffusers, autoencoder_kl_wan.py.
#include "models/names/family.h"

namespace wan::names {
namespace {

// First the inside of residual blocks, where they are: conv1 and conv2 mean something else at the root.
constexpr Row kResidualBlocks[] = {
    {"encoder.down_blocks.*.norm1", "encoder.down_blocks.*.residual.0"},
    {"encoder.down_blocks.*.conv1", "encoder.down_blocks.*.residual.2"},
    {"encoder.down_blocks.*.norm2", "encoder.down_blocks.*.residual.3"},
    {"encoder.down_blocks.*.conv2", "encoder.down_blocks.*.residual.6"},
    {"encoder.down_blocks.*.conv_shortcut", "encoder.down_blocks.*.shortcut"},
    {"encoder.mid_block.resnets.*.norm1", "encoder.mid_block.resnets.*.residual.0"},
    {"encoder.mid_block.resnets.*.conv1", "encoder.mid_block.resnets.*.residual.2"},
    {"encoder.mid_block.resnets.*.norm2", "encoder.mid_block.resnets.*.residual.3"},
    {"encoder.mid_block.resnets.*.conv2", "encoder.mid_block.resnets.*.residual.6"},
    {"encoder.mid_block.resnets.*.conv_shortcut", "encoder.mid_block.resnets.*.shortcut"},
    {"decoder.mid_block.resnets.*.norm1", "decoder.mid_block.resnets.*.residual.0"},
    {"decoder.mid_block.resnets.*.conv1", "decoder.mid_block.resnets.*.residual.2"},
    {"decoder.mid_block.resnets.*.norm2", "decoder.mid_block.resnets.*.residual.3"},
    {"decoder.mid_block.resnets.*.conv2", "decoder.mid_block.resnets.*.residual.6"},
    {"decoder.mid_block.resnets.*.conv_shortcut", "decoder.mid_block.resnets.*.shortcut"},
    {"decoder.up_blocks.*.resnets.*.norm1", "decoder.up_blocks.*.resnets.*.residual.0"},
    {"decoder.up_blocks.*.resnets.*.conv1", "decoder.up_blocks.*.resnets.*.residual.2"},
    {"decoder.up_blocks.*.resnets.*.norm2", "decoder.up_blocks.*.resnets.*.residual.3"},
    {"decoder.up_blocks.*.resnets.*.conv2", "decoder.up_blocks.*.resnets.*.residual.6"},
    {"decoder.up_blocks.*.resnets.*.conv_shortcut", "decoder.up_blocks.*.resnets.*.shortcut"},
};

// Then the places. Official levels are one list: three residual blocks and, but for the last level, what doubles the
// frames.
constexpr Row kPlaces[] = {
    {"quant_conv", "conv1"},
    {"post_quant_conv", "conv2"},
    {"encoder.conv_in", "encoder.conv1"},
    {"encoder.down_blocks", "encoder.downsamples"},
    {"encoder.mid_block.resnets.0", "encoder.middle.0"},
    {"encoder.mid_block.attentions.0", "encoder.middle.1"},
    {"encoder.mid_block.resnets.1", "encoder.middle.2"},
    {"encoder.norm_out", "encoder.head.0"},
    {"encoder.conv_out", "encoder.head.2"},
    {"decoder.conv_in", "decoder.conv1"},
    {"decoder.mid_block.resnets.0", "decoder.middle.0"},
    {"decoder.mid_block.attentions.0", "decoder.middle.1"},
    {"decoder.mid_block.resnets.1", "decoder.middle.2"},
    {"decoder.up_blocks.0.resnets.0", "decoder.upsamples.0"},
    {"decoder.up_blocks.0.resnets.1", "decoder.upsamples.1"},
    {"decoder.up_blocks.0.resnets.2", "decoder.upsamples.2"},
    {"decoder.up_blocks.0.upsamplers.0", "decoder.upsamples.3"},
    {"decoder.up_blocks.1.resnets.0", "decoder.upsamples.4"},
    {"decoder.up_blocks.1.resnets.1", "decoder.upsamples.5"},
    {"decoder.up_blocks.1.resnets.2", "decoder.upsamples.6"},
    {"decoder.up_blocks.1.upsamplers.0", "decoder.upsamples.7"},
    {"decoder.up_blocks.2.resnets.0", "decoder.upsamples.8"},
    {"decoder.up_blocks.2.resnets.1", "decoder.upsamples.9"},
    {"decoder.up_blocks.2.resnets.2", "decoder.upsamples.10"},
    {"decoder.up_blocks.2.upsamplers.0", "decoder.upsamples.11"},
    {"decoder.up_blocks.3.resnets.0", "decoder.upsamples.12"},
    {"decoder.up_blocks.3.resnets.1", "decoder.upsamples.13"},
    {"decoder.up_blocks.3.resnets.2", "decoder.upsamples.14"},
    {"decoder.norm_out", "decoder.head.0"},
    {"decoder.conv_out", "decoder.head.2"},
};

constexpr Table kTables[] = {kResidualBlocks, kPlaces};
constexpr Naming kNamings[] = {{"encoder.down_blocks", kTables}, {"decoder.mid_block", kTables}};

}  // namespace

const Family kVae = {.namings = kNamings, .dropped = {}, .aliases = {}, .ranks = {}};

}  // namespace wan::names
