// Files of networks kept on disk in the form in which they are used (`--cache-dir`): fewer bytes to read, the same weights.
#pragma once

#include <filesystem>
#include <optional>

#include "engine/base/note.h"
#include "engine/residency/identity.h"
#include "engine/residency/parts.h"
#include "models/weights/checkpoint.h"
#include "models/weights/convert/convert.h"
#include "models/weights/place.h"

namespace wan {

/// Makes the folder where it is absent. Throws InvalidRequest about cache_dir where it is none that can be written to.
void check_cache_folder(const std::filesystem::path& folder);

/// Where the cache has a network's file, and a file beside it that says what it was made from. One for each part and form:
/// another one of the same part replaces it.
std::filesystem::path cached_file(const std::filesystem::path& folder, const ModelPart& part, convert::Target target);

/// What a network is loaded from in place of `source` (its checkpoint by official names): the file of the cache, written
/// first where it is not there, is of other source files (digest, size, inode and time of change count), is damaged or was
/// written to since.
/// Writing can be interrupted and goes on at the next call. Loading it to `place` gives the weights that `source` gives, bit
/// for bit (cache_form). Nothing where `source` itself is to be used: no form has the same weights in fewer bytes, as `cache_form` says, the disk
/// lacks the room, or another process writes the file; a note says which. Notes tell sizes, too.
///   merged: cache_form's
///   step: told before each tensor that is written; what it throws passes through
/// Throws ModelError where files of the part are absent or changed meanwhile.
std::optional<Checkpoint> cached(Network network, const ModelPart& part, const Checkpoint& source, const Place& place,
                                 bool merged, const std::filesystem::path& folder, IdentityCache& identities,
                                 Notes& notes, const convert::Step& step = {});

}  // namespace wan
