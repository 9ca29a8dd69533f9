// What of a model decides which steps reuse a residual (engine/request/step_reuse.h).
#pragma once

#include <vector>

#include "engine/base/note.h"
#include "engine/request/calibration.h"
#include "engine/request/step_reuse.h"
#include "engine/residency/identity.h"
#include "engine/residency/parts.h"

namespace wan {

/// Of a request's model: whether anything of it is distilled, and whether its transformer has the size of the published
/// ratios. Reads headers alone. Throws ModelError.
ReuseModel reuse_model(const Request& request, const ModelParts& parts);

/// step_reuse() of the request's schedule and model. Throws InvalidRequest, ModelError.
StepReuse step_reuse(const Request& request, const ModelParts& parts);

/// The transformers of a model as a calibration names them. `files`: the identities of the model's files, which were
/// read in this process.
std::vector<CalibratedNetwork> calibrated_networks(const ModelParts& parts, const std::vector<FileIdentity>& files);

/// Throws InvalidRequest (field "calibration") where the request's calibration was measured on transformers with other
/// weights. Nothing for a request without one.
void check_calibration(const Request& request, const ModelParts& parts, const std::vector<FileIdentity>& files);

/// Notes why "regular" reuses nothing, and where a calibration has other settings.
void note_reuse(const StepReuse& reuse, Notes& notes);

/// Bytes of the residuals that are kept at once between steps, at most: values of `element` bytes, `dim` of a token.
uint64_t kept_bytes(const StepReuse& reuse, int64_t tokens, int64_t dim, uint64_t element);

}  // namespace wan
