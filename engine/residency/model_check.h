// Whether a model is whole and its networks belong together, before anything is loaded.
#pragma once

#include <vector>

#include "engine/base/note.h"
#include "engine/residency/identity.h"
#include "engine/residency/parts.h"

namespace wan {

/// Looks at all networks of the model: configs, headers, names, shapes, types and sizes of the files, the tokenizer,
/// whether what one network makes is what the next one takes, and whether both experts are of one size. Reads no
/// weights; takes some tenths of a second for a model of full size. Throws ModelError, or ModelErrors where several networks are wrong.
void check_model(const ModelParts& parts);

/// Throws ModelError where the weights of both experts are the same, as where one file was copied under both names, also
/// by other names of tensors, in other shards or with other metadata (FileIdentity::weights).
void check_experts_differ(const std::vector<FileIdentity>& files);

/// A note for each thing that the search for the parts left out or took on trust, and for tensors of the VAE's file that
/// are none of the VAE: those of other networks must be exactly theirs. `parts` passed check_model.
void note_search(const ModelParts& parts, Notes& notes);
/// A note for each file with weights that are zero throughout (FileIdentity::zeros), as a download with a hole has.
void note_zero_weights(const std::vector<FileIdentity>& files, Notes& notes);

}  // namespace wan
