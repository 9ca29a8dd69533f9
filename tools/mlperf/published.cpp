#include "tools/mlperf/published.h"

#include "tools/mlperf/settings.h"

namespace wan::mlperf {
namespace {

struct Published {
  const char *system, *source, *note;
  Scenario scenario;
  double gpu_seconds;  // of a video
};

/// Figures of the rounds' result tables (mlcommons.org/benchmarks/inference-datacenter).
constexpr Published kPublished[] = {
    {"8x H200, 8-bit attention", "MLPerf Inference v6.0, closed division", "VBench 69.78", Scenario::Offline, 441},
    {"8x H200, 8-bit attention, one video on 8 GPUs", "MLPerf Inference v6.0, closed division",
     "VBench 69.78; 57.2 s of 8 GPUs", Scenario::SingleStream, 8 * 57.2},
    {"8x H200, step cache", "MLPerf Inference v6.0, open division", "VBench 70.09", Scenario::Offline, 332},
    {"8x B200, fp8 attention and linears", "MLPerf Inference v6.0", "VBench 69.81", Scenario::Offline, 172},
    {"8x B300", "MLPerf Inference v6.0", "VBench 70.2 to 70.8", Scenario::Offline, 137},
    {"8x B300", "MLPerf Inference v6.1", "VBench 70.2 to 70.8", Scenario::Offline, 129},
};

}  // namespace

std::vector<bench::Row> published_rows() {
  std::vector<bench::Row> rows;
  for (const Published& result : kPublished) {
    Settings settings;
    settings.scenario = result.scenario;
    rows.push_back({.suite = "mlperf",
                    .name = "video",
                    .shape = settings.label(),
                    .backend = result.system,
                    .ours = false,
                    .milliseconds = {1000 * result.gpu_seconds},
                    .flops = 0,
                    .bytes = 0,
                    .ceiling = "",
                    .error = -1,
                    .bound = 0,
                    .peak_bytes = 0,
                    .note = result.note,
                    .published = result.source});
  }
  return rows;
}

}  // namespace wan::mlperf
