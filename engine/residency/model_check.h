// Whether a model folder is whole and its networks belong together, before anything is loaded.
#pragma once

#include <vector>

#include "engine/base/note.h"
#include "engine/residency/identity.h"
#include "engine/residency/model_folder.h"

namespace wan {

/// Looks at all networks of the folder: configs, headers, names, shapes, types and sizes of the files, the tokenizer,
/// and whether what one network makes is what the next one takes. Reads no weights; takes some tenths of a second for
/// a folder of full size. Throws ModelError, or ModelErrors where several networks are wrong.
void check_model(const ModelFolder& folder);

/// A note for each file with weights that are zero throughout (FileIdentity::zeros), as a download with a hole has.
void note_zero_weights(const std::vector<FileIdentity>& files, Notes& notes);

}  // namespace wan
