// Finds the parts of a model wherever a user has them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/request/request.h"
#include "engine/residency/parts.h"
#include "engine/residency/recognised_files.h"
#include "models/files/error.h"

namespace wan {

/// The parts that the request's task needs. Each is, in this order: what its own field names; what the set of
/// models.json that `model` names has for it; what lies at its place in the official layout, or beside a
/// model_index.json in that of diffusers; the only checkpoint under the folder `model` whose tensors are those of the
/// part, and of two experts whose name says which it is. Reads headers of files alone.
/// Throws ModelError where a part is absent, where several files could be one, and where a file holds another network
/// or is named after the other expert. Files that are there and broken are left to check_model.
ModelParts find_parts(const Request& request);

/// What such a search came to, also where it is refused.
struct PartsSearch {
  ModelParts parts;                       // those that were found, without LoRAs; of several candidates the first
  std::vector<ModelError> errors;         // why find_parts refuses
  std::vector<ModelError> several;        // the same, of parts that several files could be
  std::map<Network, ModelError> damaged;  // found, but cannot be read, and why: check_model refuses them
  std::string left_out;                   // what cannot be read and is no part; a remark of find_parts
};

/// `files`: what is known of checkpoints; those that are looked at are added. Throws ModelError where the folder or the
/// set itself cannot be used.
PartsSearch search_parts(const Request& request, RecognisedFiles& files);

/// The interpolator's file alone, as find_parts has it; none where the request draws no frames. Of the model nothing else
/// is looked for. Throws ModelError.
InterpolatorPart interpolator_of(const Request& request);

/// The folder of the request's safety checker alone, as find_parts has it; without a path where it looks at no pictures.
/// Throws ModelError.
ModelPart safety_checker_of(const Request& request);

/// The files of the request's LoRAs, each once: ModelParts::loras of find_parts. Throws ModelError where one is no
/// file.
std::vector<ModelPart> lora_parts(const Request& request);

}  // namespace wan
