#include "engine/serve/queue/schema.h"

#include "engine/base/error.h"
#include "engine/base/text.h"

namespace wan::serve {
namespace {

// Rows of `jobs` are small and change often; what a client sent is large, does not change, and so lies in `inputs`.
// `sequence` gives the order of jobs: clocks may jump. Numbers of `status` and `priority` are those of the enums in
// job.h. Each index holds what one kind of query asks for, so that none of them reads through the jobs themselves.
constexpr char kFirst[] = R"sql(
CREATE TABLE jobs (
  sequence INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  priority INTEGER NOT NULL,
  created INTEGER NOT NULL,
  start_before INTEGER,
  webhook TEXT NOT NULL,
  webhook_form TEXT NOT NULL,
  preview_key TEXT NOT NULL,
  hidden INTEGER NOT NULL,
  status INTEGER NOT NULL,
  batch TEXT NOT NULL,
  deaths INTEGER NOT NULL,
  started INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  video_seconds REAL NOT NULL,
  output TEXT,
  error TEXT
) STRICT;
CREATE INDEX jobs_unfinished ON jobs (owner, created) WHERE status < 2;
CREATE INDEX jobs_newest ON jobs (sequence, hidden, status, created);
CREATE INDEX jobs_of_owner ON jobs (owner, sequence, hidden, status, created);
CREATE INDEX jobs_ended ON jobs (hidden, ended) WHERE status >= 2;
CREATE INDEX jobs_seconds ON jobs (owner, created, video_seconds);
CREATE TABLE inputs (
  job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
  input TEXT NOT NULL,
  fields TEXT NOT NULL
) STRICT;
CREATE TABLE logs (
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  number INTEGER NOT NULL,
  time INTEGER NOT NULL,
  level TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE hooks (
  job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
  tries INTEGER NOT NULL,
  due INTEGER NOT NULL
) STRICT;
CREATE TABLE uploads (
  file TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  type TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  created INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_created ON uploads (created);
CREATE INDEX uploads_of_owner ON uploads (owner, bytes);
)sql";

// What videos would have cost elsewhere follows from their number of frames and their resolution, which lie in
// `fields`: beside the jobs, and in an index of finished ones, they are summed without reading texts.
constexpr char kSecond[] = R"sql(
ALTER TABLE jobs ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN awaited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN resolution TEXT;
ALTER TABLE jobs ADD COLUMN frames REAL;
UPDATE jobs SET (resolution, frames) = (
  SELECT CASE WHEN json_type(fields, '$.resolution') = 'text' THEN json_extract(fields, '$.resolution') END,
         CASE WHEN json_type(fields, '$.num_frames') IN ('integer', 'real')
              THEN json_extract(fields, '$.num_frames') END
  FROM inputs WHERE job = sequence AND json_valid(fields));
CREATE INDEX jobs_made ON jobs (owner, endpoint, resolution, frames) WHERE status = 2 AND hidden = 0;
)sql";

// Interruptions of version 2 were counted for every job that was running, whatever it had saved: none of them counts. Seconds
// of quotas go by `charged`, of a clock that nobody sets; until now the machine's clock was believed. Files of videos and
// previews are found by their names.
constexpr char kThird[] = R"sql(
ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN saved TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN charged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN video TEXT;
UPDATE jobs SET interruptions = 0, charged = created;
UPDATE jobs SET video = json_extract(output, '$.file') WHERE json_valid(output);
DROP INDEX jobs_seconds;
CREATE INDEX jobs_seconds ON jobs (owner, charged, video_seconds);
CREATE INDEX jobs_video ON jobs (video) WHERE hidden = 0 AND video IS NOT NULL;
CREATE INDEX jobs_preview ON jobs (preview_key) WHERE hidden = 0;
)sql";

}  // namespace

const std::vector<Migration>& migrations() {
  static const std::vector<Migration> list = {{kFirst}, {kSecond}, {kThird}};
  return list;
}

void check_identity(Database& database, const std::string& file, int64_t known) {
  const int64_t application = database.integer("PRAGMA application_id");
  const int64_t version = database.integer("PRAGMA user_version");
  const bool is_empty = database.integer("SELECT count(*) FROM sqlite_schema") == 0;
  if (application == 0 && version == 0 && is_empty) return;
  if (application != kApplication)
    throw InvalidRequest("data", "must be a folder of this server, but " + shown_path(file) +
                                     " is another program's database; name another folder");
  if (version > known)
    throw InvalidRequest("data", "must hold a database of version " + std::to_string(known) + " or older, got " +
                                     std::to_string(version) + " in " + shown_path(file) +
                                     "; start the newer server that wrote it, or name another folder");
}

void migrate(Database& database, const std::vector<Migration>& list) {
  for (int64_t version = database.integer("PRAGMA user_version"); version < int64_t(list.size()); ++version) {
    try {
      database.run("BEGIN IMMEDIATE");
      database.run(list[size_t(version)].sql);
      database.run(("PRAGMA application_id = " + std::to_string(kApplication)).c_str());
      database.run(("PRAGMA user_version = " + std::to_string(version + 1)).c_str());
      database.run("COMMIT");
    } catch (...) {
      database.roll_back();
      throw;
    }
  }
}

}  // namespace wan::serve
