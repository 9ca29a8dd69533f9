// A job of the server, as it is kept.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace wan::serve {

enum class JobStatus { Queued, Running, Done, Failed, Cancelled };
/// Whether nothing more happens to it.
inline bool is_ended(JobStatus status) {
  return status >= JobStatus::Done;
}

enum class Priority { Normal, Low };

/// Why a job ended without a video, in the words of an HTTP answer.
struct JobError {
  int status = 500;               // of the fal result call: 422, 500, 503, 504, 400 for client_cancelled
  std::string type;               // error_type: "request_timeout", "client_cancelled", ...; of 422 empty
  nlohmann::ordered_json detail;  // of 422 the list of fields, else a text
  /// One line for people: the text, or "field: message; field: message".
  std::string text() const;
  /// Whether a safety check refused an input or the video.
  bool is_refusal() const;
};

struct LogEntry {
  int64_t time = 0;   // ms since 1970, UTC
  std::string level;  // STDERR STDOUT ERROR INFO WARN DEBUG
  std::string message;
};

/// The video of a finished job.
struct JobOutput {
  std::string file;  // name in the folder of outputs
  uint64_t bytes = 0;
  uint64_t seed = 0;
  std::string prompt;                       // that was used
  double seconds = 0;                       // of work
  double video_seconds = 0;                 // how long it is; 0: not known
  nlohmann::ordered_json safety = nullptr;  // what was said of it (engine/request/safety.h); null: nothing

  bool is_flagged() const { return safety.is_object() && safety.value("flagged", false); }
};

struct Job {
  std::string id;         // a UUID
  std::string owner;      // name of the key that sent it; empty without keys
  std::string endpoint;   // "fal-ai/wan/v2.2-a14b/text-to-video", "wavespeed-ai/wan-2.2/speech-to-video"
  nlohmann::json input;   // the body as it came; data URLs and URLs of this server are replaced by "/files/..." paths
  nlohmann::json fields;  // the same as fields of a manifest line (engine/request/manifest.h), without `out`
  Priority priority = Priority::Normal;
  int64_t created = 0;                  // ms since 1970, UTC
  int64_t charged = 0;                  // when it began to count for quotas: as created, by Jobs::quota_time()
  std::optional<int64_t> start_before;  // the client's deadline to start
  std::string webhook;                  // URL; empty: none
  std::string webhook_form;             // "fal", "wavespeed"
  std::string preview_key;              // unguessable part of the preview's URL
  bool hidden = false;                  // removed by its owner: 404, files are gone
  bool awaited = false;  // a sync run: its client is answered over a connection that ends with the server
  int64_t sequence = 0;  // place in the order of arrival, of a job that was read from the store

  JobStatus status = JobStatus::Queued;
  std::string batch;          // whose work folder it is rendered in; empty: not yet begun
  bool turn = false;          // a worker said that it works on it, or prepares it, and no more of another
  int64_t deaths = 0;         // of workers while it was being rendered
  int64_t interruptions = 0;  // ends of the server without its word during its turn, in a row, none with more saved
  std::string saved;          // what it had saved at the last of these (work/saved_mark.h)
  int64_t started = 0, ended = 0;  // ms since 1970, UTC; 0: not yet
  std::optional<JobOutput> output;
  std::optional<JobError> error;
};

/// What a worker reports; lost with the server's process, and told anew by the worker.
struct JobProgress {
  std::string stage;  // fetch, load, encode, denoise, decode, write
  int64_t step = 0, steps = 0;
  std::string expert;                  // "high", "low" while denoising
  std::optional<double> seconds_left;  // of this job, as far as is known
  int64_t preview = 0;                 // counts up with each new preview; 0: none yet
};

}  // namespace wan::serve
