// The rows of `wan-bench serve`, one file each. What cannot be measured is thrown as std::exception.
#pragma once

#include <optional>
#include <vector>

#include "tools/serve_bench/scene.h"
#include "tools/serve_bench/serve_report.h"

namespace wan::bench {

/// Status calls over connections that are kept alive, while a job runs: as fast as they are answered, and at a fixed pace.
std::vector<ServeRow> status_rows(const Scene& scene);
/// Submits that are on the disk when they are answered; then the server is killed, and each of them is looked for.
ServeRow submit_row(const Scene& scene);
/// Memory of a server with many ended jobs. Leaves them in scene.ended_jobs.
ServeRow memory_row(Scene& scene);
/// From the start of the process to the first answer: in a new folder and in one that was used, and with the jobs that
/// memory_row() left.
std::vector<ServeRow> start_rows(const Scene& scene);
/// A large upload beside dd, and the memory that it takes.
ServeRow upload_row(const Scene& scene);
/// The status calls at a mock of FastAPI and uvicorn; `ours` is the row that it is compared with.
ServeRow mock_row(const Scene& scene, const ServeRow* ours);
/// Why there can be no such row; empty: there can.
std::string why_no_mock(const ServeOptions& options);

struct LoadResult;
/// What a row says where an answer was wrong, or none came; empty: all were right.
std::string failure_of(const LoadResult& result);

}  // namespace wan::bench
