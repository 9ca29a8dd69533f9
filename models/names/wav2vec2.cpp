// Names of the audio encoder. The official ones are those of wav2vec2-large-xlsr-53-english, a Wav2Vec2ForCTC; files of the
// encoder alone lack "wav2vec2.". Source: transformers, modeling_wav2vec2.py.
#include "models/names/family.h"

namespace wan::names {
namespace {

constexpr Row kEncoderAlone[] = {
    {"feature_extractor", "wav2vec2.feature_extractor"},
    {"feature_projection", "wav2vec2.feature_projection"},
    {"encoder", "wav2vec2.encoder"},
};
// Weight norm as torch.nn.utils.parametrizations writes it.
constexpr Row kParametrized[] = {
    {"wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0",
     "wav2vec2.encoder.pos_conv_embed.conv.weight_g"},
    {"wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1",
     "wav2vec2.encoder.pos_conv_embed.conv.weight_v"},
};

constexpr Table kAlone[] = {kEncoderAlone, kParametrized}, kWhole[] = {kParametrized};
constexpr Naming kNamings[] = {{"feature_projection", kAlone}, {"wav2vec2", kWhole}};

// What stands for masked frames in training, and what transcription, classification and pretraining add.
constexpr std::string_view kDropped[] = {"wav2vec2.masked_spec_embed",
                                         "masked_spec_embed",
                                         "lm_head",
                                         "quantizer",
                                         "project_q",
                                         "project_hid",
                                         "projector",
                                         "classifier",
                                         "layer_weights"};

}  // namespace

const Family kWav2Vec2 = {.namings = kNamings, .dropped = kDropped, .aliases = {}, .ranks = {}};

}  // namespace wan::names
