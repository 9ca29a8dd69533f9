// Jobs as rows: written, read, listed and counted.
#include <algorithm>
#include <functional>
#include <utility>

#include "engine/serve/queue/job_json.h"
#include "engine/serve/queue/sqlite_store.h"
#include "engine/serve/queue/sqlite_work.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

constexpr JsonLimits kLimits{.bytes = kMostJobBytes, .depth = 500, .values = kMostJobBytes};
constexpr int64_t kMostListed = 10'000;

const std::string kSelectJob =
    "SELECT id, owner, endpoint, priority, created, start_before, webhook, webhook_form, preview_key, hidden, status, "
    "batch, deaths, started, ended, output, error, input, fields, sequence, interruptions, awaited, turn, saved, "
    "charged "
    "FROM jobs ";
const std::string kWithInput = " LEFT JOIN inputs ON inputs.job = jobs.sequence ";

/// The text of a part of a job, at most as long as it can be read again.
template <typename Json>
std::string text_of(const Json& json, const std::string& id, const char* part) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kMostJobBytes)
    throw JobTooLarge("[" + std::string(part) + "] must have at most " + std::to_string(kMostJobBytes) +
                      " bytes as JSON, has " + std::to_string(text.size()) + " in job " + id + "; send less text");
  return text;
}

template <typename Value>
std::optional<std::string> text_of(const std::optional<Value>& value, const std::string& id, const char* part) {
  if (!value) return std::nullopt;
  return text_of(nlohmann::ordered_json(*value), id, part);
}

/// The number as one of the enum's, of which `last` is the last.
template <typename Enum>
Enum known(const char* column, int64_t number, Enum last) {
  if (number < 0 || number > int64_t(last))
    throw std::runtime_error(std::string(column) + " has no meaning for " + std::to_string(number));
  return Enum(number);
}

/// Table, index and conditions of a filter, in the order in which filter_rows binds them. The index is named, so that a
/// query that none of them serves is refused by tests, not slow.
std::string source_of(const JobFilter& filter, const std::string& join) {
  std::string index = filter.owner ? "jobs_of_owner" : "jobs_newest";
  if (filter.ended == false) index = "jobs_unfinished";
  std::string sql = "INDEXED BY " + index + join + " WHERE true";
  if (!filter.hidden) sql += " AND hidden = 0";
  if (filter.ended) sql += *filter.ended ? " AND status >= 2" : " AND status < 2";
  if (filter.owner) sql += " AND jobs.owner = ?";
  if (filter.before)
    sql += " AND jobs.sequence < ?";
  else if (filter.after)
    sql += " AND jobs.sequence > ?";
  return sql;
}

/// Runs the statement of a filter; `more` follows its conditions.
template <typename... More>
Rows filter_rows(Statement& statement, const JobFilter& filter, const More&... more) {
  const std::optional<int64_t>& bound = filter.before ? filter.before : filter.after;
  if (filter.owner && bound) return statement.rows(*filter.owner, *bound, more...);
  if (filter.owner) return statement.rows(*filter.owner, more...);
  if (bound) return statement.rows(*bound, more...);
  return statement.rows(more...);
}

/// Input or fields of a job: an object, and nothing more of a hidden one, whose texts were erased.
nlohmann::json sent_object(const Rows& row, int column, bool hidden) {
  if (row.is_null(column)) throw std::runtime_error("its input is not there");
  nlohmann::json text = parse_json(row.text(column), kLimits);
  if (!text.is_object() && !(hidden && text.is_null())) throw std::runtime_error("its input is no object");
  return text;
}

}  // namespace

void SqliteStore::make(const PutJob& change) {
  const Job& job = change.job;
  const std::string input = text_of(job.input, job.id, "input"), fields = text_of(job.fields, job.id, "fields");
  const auto output = text_of(job.output, job.id, "output"), error = text_of(job.error, job.id, "error");
  const auto video = job.output ? std::optional(job.output->file) : std::nullopt;
  int64_t sequence = 0;
  {
    // What a removed job counts for quotas stays, though its fields are gone.
    Rows row =
        statement(
            "INSERT INTO jobs (id, owner, endpoint, priority, created, start_before, webhook, webhook_form, "
            "preview_key, hidden, status, batch, deaths, started, ended, video_seconds, output, error, interruptions, "
            "awaited, resolution, frames, turn, saved, charged, video) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, endpoint = excluded.endpoint, "
            "priority = excluded.priority, created = excluded.created, start_before = excluded.start_before, "
            "webhook = excluded.webhook, webhook_form = excluded.webhook_form, preview_key = excluded.preview_key, "
            "hidden = excluded.hidden, status = excluded.status, batch = excluded.batch, deaths = excluded.deaths, "
            "started = excluded.started, ended = excluded.ended, "
            "video_seconds = CASE WHEN excluded.hidden THEN video_seconds ELSE excluded.video_seconds END, "
            "output = excluded.output, error = excluded.error, interruptions = excluded.interruptions, "
            "awaited = excluded.awaited, resolution = excluded.resolution, frames = excluded.frames, "
            "turn = excluded.turn, saved = excluded.saved, charged = excluded.charged, video = excluded.video "
            "RETURNING sequence")
            .rows(job.id, job.owner, job.endpoint, int(job.priority), job.created, job.start_before, job.webhook,
                  job.webhook_form, job.preview_key, job.hidden, int(job.status), job.batch, job.deaths, job.started,
                  job.ended, video_seconds(job), output, error, job.interruptions, job.awaited, priced_resolution(job),
                  priced_frames(job), job.turn, job.saved, job.charged, video);
    while (row.next()) sequence = row.integer(0);
  }
  // Most changes leave these alone: then nothing is written.
  statement(
      "INSERT INTO inputs (job, input, fields) VALUES (?, ?, ?) ON CONFLICT (job) DO UPDATE SET input = "
      "excluded.input, "
      "fields = excluded.fields WHERE input <> excluded.input OR fields <> excluded.fields")
      .run(sequence, input, fields);
  if (!job.hidden) return;
  statement("DELETE FROM logs WHERE job = ?").run(sequence);
  has_removed_ = true;
}

void SqliteStore::make(const RemoveJob& change) {
  statement("DELETE FROM jobs WHERE id = ?").run(change.job);
  has_removed_ = true;
}

Job SqliteStore::read(const Rows& row) {
  Job job;
  job.id = row.text(0);
  job.owner = row.text(1);
  job.endpoint = row.text(2);
  job.created = row.integer(4);
  if (!row.is_null(5)) job.start_before = row.integer(5);
  job.webhook = row.text(6);
  job.webhook_form = row.text(7);
  job.preview_key = row.text(8);
  job.hidden = row.integer(9) != 0;
  job.batch = row.text(11);
  job.deaths = row.integer(12);
  job.started = row.integer(13);
  job.ended = row.integer(14);
  job.sequence = row.integer(19);
  job.interruptions = row.integer(20);
  job.awaited = row.integer(21) != 0;
  job.turn = row.integer(22) != 0;
  job.saved = row.text(23);
  job.charged = row.integer(24);
  // Part by part: what can be read of a damaged one is shown.
  std::string wrong;
  const auto part = [&](const auto& read) {
    try {
      read();
    } catch (const std::exception& error) {
      if (wrong.empty()) wrong = error.what();
    }
  };
  part([&] { job.priority = known("priority", row.integer(3), Priority::Low); });
  part([&] { job.status = known("status", row.integer(10), JobStatus::Cancelled); });
  part([&] { job.input = sent_object(row, 17, job.hidden); });
  part([&] { job.fields = sent_object(row, 18, job.hidden); });
  part([&] {
    if (!row.is_null(15)) job.output = parse_json<nlohmann::ordered_json>(row.text(15), kLimits).get<JobOutput>();
  });
  part([&] {
    if (!row.is_null(16)) job.error = parse_json<nlohmann::ordered_json>(row.text(16), kLimits).get<JobError>();
  });
  if (wrong.empty()) return job;
  troubles_.push_back("[data] the record of job " + job.id + " cannot be read: " + wrong);
  for (nlohmann::json* text : {&job.input, &job.fields})
    if (!text->is_object()) *text = nlohmann::json::object();
  job.status = JobStatus::Failed;
  job.output.reset();
  job.error = JobError{500, "internal_error", "The record of this job cannot be read; send it again"};
  return job;
}

std::optional<Job> SqliteStore::find(const std::string& id) {
  return available([&]() -> std::optional<Job> {
    Rows row = statement(kSelectJob + kWithInput + "WHERE id = ?").rows(id);
    if (!row.next()) return std::nullopt;
    return read(row);
  });
}

std::vector<Job> SqliteStore::unfinished() {
  return available([&] {
    std::vector<Job> jobs;
    Rows row =
        statement(kSelectJob + "INDEXED BY jobs_unfinished" + kWithInput + "WHERE status < 2 ORDER BY sequence").rows();
    while (row.next()) jobs.push_back(read(row));
    return jobs;
  });
}

std::vector<Job> SqliteStore::list(const JobFilter& filter) {
  return available([&] {
    std::vector<Job> jobs;
    const std::string order = filter.oldest_first ? " ORDER BY sequence LIMIT ?" : " ORDER BY sequence DESC LIMIT ?";
    const std::string sql = kSelectJob + source_of(filter, kWithInput) + order;
    Rows row = filter_rows(statement(sql), filter, std::clamp<int64_t>(filter.most, 0, kMostListed));
    while (row.next()) jobs.push_back(read(row));
    return jobs;
  });
}

int64_t SqliteStore::count(const JobFilter& filter) {
  return available([&] {
    Rows row = filter_rows(statement("SELECT count(*) FROM jobs " + source_of(filter, "")), filter);
    return row.next() ? row.integer(0) : 0;
  });
}

std::vector<EndedJob> SqliteStore::oldest_ended(int64_t most, bool hidden) {
  return available([&] {
    std::vector<EndedJob> jobs;
    Rows row = statement(
                   "SELECT id, ended, output FROM jobs INDEXED BY jobs_ended WHERE status >= 2 AND hidden = ? "
                   "ORDER BY ended LIMIT ?")
                   .rows(hidden, std::clamp<int64_t>(most, 0, kMostListed));
    while (row.next()) {
      EndedJob job{std::string(row.text(0)), row.integer(1), "", 0};
      try {
        const auto output =
            row.is_null(2) ? JobOutput{} : parse_json<nlohmann::ordered_json>(row.text(2), kLimits).get<JobOutput>();
        job.file = output.file, job.bytes = output.bytes;
      } catch (const std::exception&) {  // find() tells of it
      }
      jobs.push_back(std::move(job));
    }
    return jobs;
  });
}

double SqliteStore::video_seconds_since(const std::string& owner, int64_t charged) {
  return available([&] {
    Rows row = statement("SELECT total(video_seconds) FROM jobs WHERE owner = ? AND charged >= ?").rows(owner, charged);
    return row.next() ? row.real(0) : 0;
  });
}

std::vector<MadeVideos> SqliteStore::made_videos(const std::optional<std::string>& owner) {
  return available([&] {
    std::vector<MadeVideos> made;
    const std::string sql =
        "SELECT endpoint, resolution, count(*), count(frames), total(frames) FROM jobs INDEXED BY jobs_made "
        "WHERE status = 2 AND hidden = 0" +
        std::string(owner ? " AND owner = ?" : "") + " GROUP BY endpoint, resolution, frames IS NULL";
    Rows row = owner ? statement(sql).rows(*owner) : statement(sql).rows();
    while (row.next()) {
      MadeVideos& one = made.emplace_back();
      one.endpoint = row.text(0), one.resolution = row.text(1);
      one.videos = row.integer(2);
      if (row.integer(3) > 0) one.frames = row.real(4);
    }
    return made;
  });
}

int64_t SqliteStore::last_charged() {
  return available([&] {
    Rows row = statement("SELECT charged FROM jobs ORDER BY sequence DESC LIMIT 1").rows();
    return row.next() ? row.integer(0) : 0;
  });
}

bool SqliteStore::knows_file(const std::string& name) {
  return available([&] {
    Rows row = statement(
                   "SELECT 1 FROM jobs INDEXED BY jobs_preview WHERE hidden = 0 AND preview_key = ?1 UNION ALL "
                   "SELECT 1 FROM jobs INDEXED BY jobs_video WHERE hidden = 0 AND video = ?1 LIMIT 1")
                   .rows(name);
    return row.next();
  });
}

}  // namespace wan::serve
