// Files of networks kept on disk in the form in which they are used (`--cache-dir`): fewer bytes to read, the same weights.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "engine/base/note.h"
#include "engine/residency/identity.h"
#include "engine/residency/parts.h"
#include "models/files/source_file.h"
#include "models/weights/checkpoint.h"
#include "models/weights/convert/convert.h"
#include "models/weights/place.h"

namespace wan {

/// Makes the folder where it is absent. Throws InvalidRequest about cache_dir where it is none that can be written to.
void check_cache_folder(const std::filesystem::path& folder);

/// Whether a network is ever kept there: transformers are.
bool is_kept_once_more(Network network);

/// Where the cache has a network's file, and a file beside it that says what it was made from. One for each part and form:
/// another one of the same part replaces it.
std::filesystem::path cached_file(const std::filesystem::path& folder, const ModelPart& part, convert::Target target);

/// What `--cache-dir` has or will have of a network.
struct CachePlan {
  Network network = Network::HighNoise;
  std::string form;           // "bf16" or "int8"
  uint64_t bytes = 0;         // there
  uint64_t source_bytes = 0;  // in its own files
  bool is_there = false;      // it would be loaded as it lies there now; else it is written first
};
/// Nothing where no copy of it is kept. `source` and `place` as in cached(). Reads headers, and samples of what is there. Throws
/// ModelError.
std::optional<CachePlan> plan_of_cache(Network network, const ModelPart& part, const Checkpoint& source,
                                       const Place& place, const std::filesystem::path& folder);
/// The names, shapes and dtypes of that copy, without data, where it is in bf16; else `source`. For sizes.
Checkpoint cached_headers(Network network, const Checkpoint& source, const Place& place);

/// A file of the cache that was found to be the right one.
struct CachedCopy {
  Checkpoint checkpoint;
  FileState state;  // of the file when that was found; who opens it once more by its name compares
};

/// Told of a copy that is written: its file, the bytes that it will have, and its tensors: finished, all.
using CacheStep = std::function<void(const std::filesystem::path& file, uint64_t bytes, int64_t finished, int64_t all)>;

/// Bytes that are free on the disk of a folder; nothing where that cannot be told.
using FreeSpace = std::function<std::optional<uint64_t>(const std::filesystem::path& folder)>;

/// What a network is loaded from in place of `source` (its checkpoint by official names): the file of the cache. It is
/// written first where it is not there, is damaged, was written to since, or was made of other source files or before their
/// inodes or times of change became others: those also change by `cp -a` and `chmod`, but samples of a file do not tell
/// that from a writing that set the time of modification back. The old file stays in its place until the new one is whole.
/// Writing can be interrupted and goes on at the next call; where the disk has no room left, what was written is removed.
/// Loading it to `place` gives the weights that `source` gives, bit for bit (cache_form). Nothing where `source` itself is
/// to be used: no form has the same weights in fewer bytes, as `cache_form` says, the folder cannot be written to, the disk
/// lacks the room, something fails on the way, or another process writes the file; a note says which. Notes tell sizes, too.
///   merged: cache_form's
///   step: told before each tensor that is written; what it throws passes through
///   free_space: asked before the copy is begun and before each of its tensors; the system where it is empty
/// Throws ModelError where files of the part are absent or changed meanwhile.
std::optional<CachedCopy> cached(Network network, const ModelPart& part, const Checkpoint& source, const Place& place,
                                 bool merged, const std::filesystem::path& folder, IdentityCache& identities,
                                 Notes& notes, const CacheStep& step = {}, const FreeSpace& free_space = {});
/// Whether what was opened is a file of the cache in this folder.
bool is_cached(const Checkpoint& checkpoint, const std::filesystem::path& folder);
/// What cached() gives where it is there already: nothing is written, and nothing said. Throws ModelError where files of
/// the part are absent.
std::optional<CachedCopy> copy_there(Network network, const ModelPart& part, const Checkpoint& source,
                                     const Place& place, bool merged, const std::filesystem::path& folder,
                                     IdentityCache& identities);

}  // namespace wan
