// Parts of a job as JSON, as they are kept.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/serve/queue/job.h"

namespace wan::serve {

/// The name of a status, for logs and metrics: "queued", "running", "done", "failed", "cancelled".
const char* status_name(JobStatus status);

// The members' names are the JSON's. from_json throws nlohmann::json::exception where something is absent or of another
// kind.
void to_json(nlohmann::ordered_json& json, const JobError& error);
void from_json(const nlohmann::ordered_json& json, JobError& error);
void to_json(nlohmann::ordered_json& json, const JobOutput& output);
void from_json(const nlohmann::ordered_json& json, JobOutput& output);

/// Seconds of video that a job asks for, by its fields: frames divided by frames per second, with the defaults of its
/// task. A speech video whose length follows its sound counts as the limit that it names, else as the default length.
double video_seconds(const Job& job);

/// What hosted prices depend on: the resolution that the job's fields name, and its frames, which they name, or where
/// the input decides the length follow from the finished video. Nothing where they are not known.
std::optional<std::string> priced_resolution(const Job& job);
std::optional<double> priced_frames(const Job& job);

}  // namespace wan::serve
