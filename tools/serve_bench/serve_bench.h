// `wan-bench serve`: how fast a server answers, takes jobs and starts, and what memory it takes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tools/serve_bench/serve_report.h"

namespace wan::bench {

struct ServeOptions {
  std::vector<std::string> rows;   // of serve_rows(); empty: all
  std::filesystem::path programs;  // the folder of wan-serve
  std::filesystem::path worker;    // worker_program.cpp says what it is to do; empty: wan-bench-worker in that folder
  std::filesystem::path data;      // a folder on the disk that is measured; what is written there is removed again
  std::string python;              // with fastapi and uvicorn, for the mock; empty: it is left out
  std::filesystem::path mock = "tests/serve/bench_mock.py";
  std::string command, commit;  // of the report

  double seconds = 10;  // of each load
  int clients = 64;     // that ask or submit at once
  double rate = 5000;   // status calls a second, of the row that asks at a fixed pace
  int idle = 1000, streams = 100;
  int jobs = 10'000;                    // that have ended, where memory is measured
  int starts = 20;                      // runs
  uint64_t upload = uint64_t(1) << 30;  // bytes
};

/// status, submit, memory, start, upload, mock: in the order in which they are measured.
const std::vector<std::string>& serve_rows();

/// Starts servers of its own for each row. A row that cannot be measured, or in which an answer was wrong, says so in
/// `failed`; the others go on. `after_row` has the report so far. Throws std::invalid_argument where an option is wrong.
ServeReport serve_bench(const ServeOptions& options, const std::function<void(const ServeReport&)>& after_row = {});

}  // namespace wan::bench
