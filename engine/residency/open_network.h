// A part's checkpoint, tokenizer and sizes, whatever names and formats its files have.
#pragma once

#include "engine/residency/parts.h"
#include "models/text/tokenizer/tokenizer.h"
#include "models/wan/config.h"
#include "models/wan_s2v/config.h"
#include "models/wav2vec2/config.h"
#include "models/weights/checkpoint.h"

namespace wan {

/// The tensors of a part by the names of the official release. Reads headers alone. Throws ModelError, also where a file
/// is another than the one that was identified (engine/residency/unchanged.h).
Checkpoint open_network(Network network, const ModelParts& parts);

/// Sizes of a part: from the config.json of its folder, else from its tensors in official names. Throw ModelError.
WanConfig expert_config(const ModelPart& part, const Checkpoint& checkpoint);
SpeechConfig speech_config(const ModelPart& part, const Checkpoint& checkpoint);
Wav2Vec2Config audio_config(const ModelPart& part, const Checkpoint& checkpoint);

/// Of a transformer of the model: the high-noise expert, or that of speech. Throws ModelError.
WanConfig transformer_config(const ModelParts& parts);

/// Throws ModelError, as open_network.
text::Tokenizer open_tokenizer(const ModelParts& parts);

}  // namespace wan
