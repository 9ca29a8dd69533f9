// Results of MLPerf Inference's benchmark Wan2.2-T2V-A14B that others have published.
#pragma once

#include <vector>

#include "tools/bench/report.h"

namespace wan::mlperf {

/// Rows "video" whose `published` names their source. GPU seconds for each video: the time of the system, times its
/// GPUs, by its videos; the whole run, from the text encoder to the frames.
std::vector<bench::Row> published_rows();

}  // namespace wan::mlperf
