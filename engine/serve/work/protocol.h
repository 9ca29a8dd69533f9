// What server and worker say to each other: one JSON object a line, over the worker's standard input and output.
//
// Server to worker:
//   {"do": "render", "batch": ID, "folder": PATH, "jobs": [{"id", "fields", "out", "preview", "withdrawn"}, ...]}
//   {"do": "cancel", "job": ID}      that job alone ends: at once where another one works now, else at its next step
//   {"do": "unload"}                 between batches: weights leave the device
//   {"do": "stop"}                   state is saved at the next step, and the worker exits with 0; so does the end of
// input Worker to server:
//   {"is": "ready", "device": TEXT, "pid": N}
//   {"is": "turn", "job": ID}        it works on that job from now on, or prepares it: who dies then died of this job
//   {"is": "held", "batch": ID}      another process has the batch's folder: said every few seconds until that leaves
//   {"is": "begun", "job": ID}       its first stage begins; once in the life of a worker
//   {"is": "progress", "job": ID, "stage", "step", "steps", "expert"?, "seconds_left"?}
//   {"is": "log", "job": ID, "level", "message"}
//   {"is": "preview", "job": ID}     the file was replaced
//   {"is": "done", "job": ID, "seed", "prompt", "seconds", "bytes", "video_seconds"?, "safety"?}
//                                    0 seconds (of work): an earlier worker had finished it
//   {"is": "failed", "job": ID, "kind": "request"|"refused"|"model"|"cancelled"|"device"|"disk"|"machine",
//    "errors": [FieldError...], "text"}
//   {"is": "batch", "batch": ID, "resident": BOOL}   every job of it has ended; whether all its weights stayed loaded
//   {"is": "alive"}                  some seconds after the last one, by a thread that computes nothing. Who said it
// once                                    and then says nothing for two minutes hangs, and is killed
//   {"is": "memory", "device_bytes": N, "stage_seconds": {...}}
//
// What is saved of the jobs lies in the batch's folder and in folders of that, in files that appear whole, by a rename from
// NAME.part; the journal, journal.jsonl, is none of it. The server looks at them where it had ended without its word,
// whether the job whose turn it was had got on since the last time (saved_mark.h).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.h"

namespace wan::serve {

/// A line of either direction has at most so many bytes: what is longer is no message.
inline constexpr size_t kMostLine = 16 << 20;

/// A job as a worker gets it.
struct WorkItem {
  std::string id;
  nlohmann::json fields;   // of a manifest line, with task and model
  std::string out;         // the video appears here by a rename
  std::string preview;     // a JPEG appears here by renames; empty: none is made
  bool withdrawn = false;  // cancelled: it keeps its place in the batch, and nothing is rendered
};
void to_json(nlohmann::json& json, const WorkItem& item);
void from_json(const nlohmann::json& json, WorkItem& item);

struct WorkBatch {
  std::string id, folder;
  std::vector<WorkItem> jobs;
};
void to_json(nlohmann::json& json, const WorkBatch& batch);
/// Throws std::invalid_argument where a job comes twice, and nlohmann::json::exception for other JSON.
void from_json(const nlohmann::json& json, WorkBatch& batch);

/// What is wrong with a request, as "failed" carries it.
nlohmann::json to_json(const std::vector<FieldError>& errors);
/// Throws nlohmann::json::exception for other JSON.
std::vector<FieldError> read_errors(const nlohmann::json& list);

/// The message of a line. Throws BrokenJson (models/files/json.h), and std::invalid_argument for JSON that is no
/// object.
nlohmann::json read_message(std::string_view line);
/// A message as a line, with its line break. Text that is no UTF-8 is replaced.
std::string line_of(const nlohmann::json& message);

}  // namespace wan::serve
