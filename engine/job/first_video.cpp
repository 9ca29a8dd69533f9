#include "engine/job/first_video.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/base/error.h"
#include "engine/media/metadata.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char *kFirst = "first", *kWaits = "waits", *kQuality = "quality";

std::string normal(const fs::path& path) {
  return fs::absolute(path).lexically_normal().string();
}

bool waits(const json& note) {
  const auto found = note.find(kWaits);
  return found != note.end() && *found == true;
}

std::string path_in(const WorkFolder& folder, const json& note) {
  const auto found = note.find(kFirst);
  return found != note.end() && found->is_string() ? normal(folder.path() / found->get<std::string>()) : "";
}

/// How journals name files: seen from their folder.
std::string place_of(const WorkFolder& folder, const std::string& path) {
  return fs::path(normal(path)).lexically_relative(normal(folder.path())).string();
}

}  // namespace

bool computes_exactly(const Request& request, const StepReuse& reuse) {
  return request.precision == "exact" && request.skip_softmax == 0 && !reuse.is_on();
}

Request exact_of(Request request) {
  request.precision = "exact";
  request.skip_softmax = 0;
  request.skip_softmax_dense = -1;
  request.acceleration = "none";
  request.calibration.clear();
  if (quality_check_of(request) == QualityCheck::Retry) request.quality_check = "warn";
  return request;
}

void add_retry(const Job& job, Record& record) {
  if (!job.retry_of) return;
  record.asked = job.retry_of->request;
  record.quality_first = job.retry_of->result.quality;
  record.inputs.merge(identify_inputs(job.retry_of->request));  // of a calibration, which computed the first alone
}

void tell_quality(const std::string& out, const std::optional<QualityNumbers>& quality, const Log& log) {
  if (!quality) return;
  for (const Finding& found : findings(*quality))
    log("quality", {{"out", out}, {"kind", found.kind}, {"text", found.text}, {"change", found.change}});
}

void tell_quality(const Job& job, const Log& log) {
  tell_quality(job.result.name, job.result.quality, log);
}

std::string free_first_name(const std::string& out) {
  const fs::path path = out;
  for (int64_t number = 1;; ++number) {
    const std::string name =
        path.stem().string() + ".first" + (number == 1 ? "" : "-" + std::to_string(number)) + path.extension().string();
    const fs::path first = path.parent_path() / name;
    if (!fs::exists(fs::symlink_status(first))) return first.string();
  }
}

void FirstVideos::begin(Job& job) {
  job.first.clear();
  if (quality_check_of(job.request) != QualityCheck::Retry || computes_exactly(job.request, job.reuse)) return;
  const json* const note = folder_.recall(key_of(job));
  if (note) job.first = path_in(folder_, *note);
  if (!job.first.empty()) return;
  job.first = free_first_name(job.request.out);
  folder_.note(key_of(job), {{kFirst, place_of(folder_, job.first)}, {kWaits, false}});
}

bool FirstVideos::end(Job& job) {
  const std::vector<Finding> found = job.result.quality ? findings(*job.result.quality) : std::vector<Finding>();
  if (job.first.empty()) {
    if (!found.empty() && quality_check_of(job.request) == QualityCheck::Retry && !job.retry_of)
      log_("quality",
           {{"out", job.result.name},
            {"kind", "retry"},
            {"text", "it is not rendered once more: exact kernels computed it, and would give the same bytes"},
            {"change", "another seed"}});
    return false;
  }
  if (found.empty()) {
    fs::rename(job.first, job.request.out);
    job.first.clear();
    return false;
  }
  folder_.note(key_of(job), {{kFirst, place_of(folder_, job.first)},
                             {kWaits, true},
                             {kQuality, json::parse(to_json(*job.result.quality).dump())}});
  job.set_aside = job.finished = true;
  log_("quality",
       {{"out", job.result.name},
        {"kind", "retry"},
        {"text", "it is rendered once more with exact kernels; the first video stays beside it: " + kinds_text(found)},
        {"change", ""}});
  return true;
}

bool FirstVideos::recall(Job& job) {
  const json* const note = folder_.recall(key_of(job));
  if (!note || !waits(*note)) return false;
  std::error_code unreadable;
  // The second video, of which an earlier run had no time to note that it is finished, or somebody's file.
  const bool retries = quality_check_of(job.request) == QualityCheck::Retry;
  if (!retries && !overwrite_ && fs::exists(job.request.out, unreadable)) return false;
  job.first = path_in(folder_, *note);
  if (job.first.empty() || !fs::exists(job.first, unreadable)) {  // somebody has removed it: it is made again
    job.first.clear();
    folder_.note(key_of(job), {{kWaits, false}});
    return false;
  }
  try {
    job.result.quality = read_quality(note->at(kQuality));
  } catch (const json::exception&) {
  }
  job.finished = true;
  try {
    job.result.safety = parse_record(read_metadata({job.first, "out"}), "out").safety;
  } catch (const InvalidRequest&) {  // written without metadata
  }
  if (retries) {
    job.set_aside = true;
  } else {
    take_first(job);
    job.result.state = JobState::Kept;
  }
  return true;
}

void FirstVideos::recall_finished(Job& job) const {
  try {
    const Record made = parse_record(read_metadata({job.request.out, "out"}), "out");
    job.result.quality = made.quality;
    job.result.quality_first = made.quality_first;
    if (job.result.expanded_prompt.empty()) job.result.expanded_prompt = made.expanded_prompt;
    if (!job.result.safety.is_there()) job.result.safety = made.safety;
    const json* const note = folder_.recall(key_of(job));
    if (const std::string first = note ? path_in(folder_, *note) : ""; made.quality_first && fs::exists(first))
      job.result.first = first;
  } catch (const InvalidRequest&) {  // written without metadata
  }
}

void FirstVideos::settle(Job& job, const Job& again, bool keep_first) {
  JobResult& result = job.result;
  result.seconds += again.result.seconds;
  std::error_code ignored;
  switch (again.result.state) {
    case JobState::Left:
      return;
    case JobState::Done:
    case JobState::Kept:
      result.quality_first = result.quality;
      result.quality = again.result.quality;
      result.safety = again.result.safety;
      result.state = JobState::Done;
      if (keep_first)
        result.first = job.first;
      else
        fs::remove(job.first, ignored);
      return note_done(job);
    case JobState::Failed:
      break;
  }
  // Of one that was refused nothing is to stay, either; the first video has passed its check.
  const bool refused = again.result.safety.output.has_value();
  if (again.withdrawn && !refused) {
    fs::remove(job.first, ignored);
    folder_.note(key_of(job), {{kWaits, false}});
    job.withdrawn = true;
    result.state = JobState::Failed;
  } else if (overwrite_ || !fs::exists(job.request.out)) {
    log_("warning", {{"out", result.name},
                     {"text", "the second render failed, and the first video is the output"},
                     {"error", again.result.error}});
    take_first(job);
    result.state = JobState::Done;
    return;
  } else {
    result.state = JobState::Failed;
  }
  result.error = again.result.error;
  result.failure = again.result.failure;
}

bool FirstVideos::is_waiting(const WorkFolder& folder) {
  return folder.any_note([](const json& note) { return note.is_object() && waits(note); });
}

void FirstVideos::take_first(Job& job) {
  fs::rename(job.first, job.request.out);
  job.first.clear();
  note_done(job);
}

void FirstVideos::note_done(const Job& job) {
  json note = {{"done", place_of(folder_, job.request.out)}, {"files", job.files}};
  if (job.result.safety.is_there()) note["safety"] = json::parse(to_json(job.result.safety).dump());
  folder_.note(job.key, note);
  const json first = job.first.empty() ? json() : json(place_of(folder_, job.first));
  folder_.note(key_of(job), {{kFirst, first}, {kWaits, false}});
}

}  // namespace wan
