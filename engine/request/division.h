// A manifest in several parts, each for a process of its own: which jobs belong to which follows from the manifest alone.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// What a job takes, as a number to compare jobs by: forwards of the transformer times tokens, at least 1. Of a length or
/// a size that follows an input the largest counts, of speech one clip: inputs are not looked at.
int64_t cost_of(const Request& request);

/// The shard of each request, from 0 to count - 1; the same on every machine and whatever is finished. Sums of costs are
/// near to each other: the largest is above the mean by the cost of at most one job, or of one group that stays whole.
/// Stay together: equal requests, which their work folder tells apart by number, and jobs whose prompt a language server
/// writes out, which have one text for it. As far as the costs allow, so do jobs with the same inputs, then with the same
/// prompt, then with the same LoRAs, then with the same model.
std::vector<int64_t> shards_of(const std::vector<const Request*>& requests, int64_t count);

}  // namespace wan
