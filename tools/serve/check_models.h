// Whether the models of a server can render its tasks, told before it serves.
#pragma once

#include <filesystem>

#include "engine/serve/settings.h"

namespace wan {

/// Asks `inspect`, the program wan-inspect, which reads the headers of checkpoints, about each model. Throws InvalidRequest
/// with what a render would refuse, by the flag --model. Nothing is refused where that program is not there or gives no
/// answer within ten seconds, and where --render names parts of the models: jobs tell then.
void check_models(const serve::Settings& settings, const std::filesystem::path& inspect);

}  // namespace wan
