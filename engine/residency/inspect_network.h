// One network of what `wan-infer inspect` lists.
#pragma once

#include "engine/residency/inspect.h"
#include "engine/residency/parts.h"
#include "engine/residency/recognised_files.h"

namespace wan {

/// Looks into one checkpoint, from its headers. Throws ModelError.
InspectedNetwork inspect_network(const ModelPart& part);
/// The same; one that cannot be read says why. What it is goes to `files`, too.
InspectedNetwork inspect_or_tell(const ModelPart& part, RecognisedFiles& files);

}  // namespace wan
