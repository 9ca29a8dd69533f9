// Jobs as OpenAI's video objects.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/serve/api/context.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

/// {"id", "object": "video", "status", "progress", "created_at", "model", "prompt", "seconds", "size", ...}. The status
/// is queued, in_progress, completed or failed and nothing else: clients stop polling at any other. `keep` is how long
/// ended jobs stay, in seconds; 0: for ever.
nlohmann::ordered_json video_json(const LiveJob& job, int64_t keep);

/// 200 with the video; of an open one with the header openai-poll-after-ms, by which the `openai` packages poll.
Answer video_answer(const LiveJob& job, const ApiContext& context);

/// How much of a running job is done, in per cent: from 0 to 99.
int64_t percent_of(const JobProgress& progress);

}  // namespace wan::serve
