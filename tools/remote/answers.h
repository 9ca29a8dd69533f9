// What a server's answers say, read from JSON that may be wrong.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/progress.h"

namespace wan::remote {

/// The value of a text; discarded where it is no JSON, or more of it than an answer has.
nlohmann::json read_answer(std::string_view text);

/// A server's text on one line, without what could act on a terminal, cut where it is long.
std::string plain_line(const std::string& text);

/// The list of a 422 as local runs word it: {"loc": ["body", "num_frames"], "type": "greater_than_equal", "ctx": {"ge": 17},
/// "input": 5} is [num_frames] "must be at least 17, got 5"; kinds that are not known keep the server's words. Empty where
/// `body` has no such list.
std::vector<FieldError> field_errors(const nlohmann::json& body);

struct LogLine {
  std::string time, level, message;
};

/// A job as its status tells.
struct JobView {
  enum State { Queued, Running, Ended } state = Queued;
  int64_t position = 0;  // Queued: how many are before it
  std::vector<LogLine> logs;
  std::optional<Report> report;        // Running: how far it is, where the server tells
  std::optional<double> seconds_left;  // of the whole job
  std::string preview;                 // URL; empty: none
  std::string error, error_type;       // Ended: why there is no video; both empty where there is one
  double seconds = 0;                  // Ended: of work
  std::string endpoint;                // where the server tells

  bool failed() const { return !error.empty() || !error_type.empty(); }
  bool cancelled() const { return error_type == "client_cancelled"; }
};

/// Nothing where `status` is not what a status looks like.
std::optional<JobView> read_status(const nlohmann::json& status);

/// "queued, 3 before it", "running: denoise 12/27, high noise, 1 min 20 s left", "done in 81 s", "failed: ...".
std::string state_text(const JobView& job);

/// The video of a job that has one.
struct VideoView {
  std::string url;
  uint64_t bytes = 0;            // 0: not told
  std::optional<uint64_t> seed;  // as told
};
/// Nothing where `result` has no video.
std::optional<VideoView> read_result(const nlohmann::json& result);

}  // namespace wan::remote
