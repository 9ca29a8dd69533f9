// Whether the files of a model are still those that were identified: a run that lasts for hours opens them several times.
#pragma once

#include <string>
#include <vector>

#include "engine/residency/identity.h"
#include "engine/residency/parts.h"

namespace wan {

/// Keeps in `parts` what was found in its files, for the checks below. `files` are its identities.
void remember(ModelParts& parts, const std::vector<FileIdentity>& files);
/// The same of `files`, whose identities are `identities` one by one.
void remember(ModelParts& parts, const std::vector<PartFile>& files, const std::vector<FileIdentity>& identities);

/// Throws a ModelError that names the file, what it was and what it is, where a file of the part `field` (field_of, or
/// "tokenizer") is another than remember() was told: replaced, written to, gone, or new. Where only the entry changed
/// (a new name, owner or right), its digest is made again and decides. Does nothing for parts that remember nothing.
/// Called after the files were opened, it says that what was opened is what was identified.
void check_unchanged(const ModelParts& parts, const std::string& field);

/// The same for files that are open, which stay what they are where another file takes their name: throws ModelError only
/// where one was written to in place. Takes microseconds. For what is computed from mapped files and is to be kept.
void check_not_rewritten(const ModelParts& parts);

}  // namespace wan
