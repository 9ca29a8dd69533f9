// Jobs in SQLite: what goes in comes out, queries by every filter, and files that are not to be used.
#include "engine/serve/queue/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

#include "engine/base/error.h"
#include "engine/serve/queue/schema.h"
#include "engine/serve/queue/times.h"
#include "tests/serve/queue_jobs.h"
#include "tests/support/other_user.h"

namespace wan::serve {
namespace {

using namespace std::string_literals;

std::string all_of(const Job& job) {
  const nlohmann::ordered_json error =
      job.error ? nlohmann::ordered_json{job.error->status, job.error->type, job.error->detail} : nullptr;
  const nlohmann::ordered_json output =
      job.output ? nlohmann::ordered_json{job.output->file,   job.output->bytes,   job.output->seed,
                                          job.output->prompt, job.output->seconds, job.output->video_seconds,
                                          job.output->safety}
                 : nullptr;
  const nlohmann::ordered_json all = {
      job.id,          job.owner,
      job.endpoint,    job.input,
      job.fields,      int(job.priority),
      job.created,     job.start_before ? nlohmann::ordered_json(*job.start_before) : nullptr,
      job.webhook,     job.webhook_form,
      job.preview_key, job.hidden,
      int(job.status), job.batch,
      job.deaths,      job.interruptions,
      job.turn,        job.saved,
      job.charged,     job.awaited,
      job.started,     job.ended,
      output,          error};
  return all.dump();
}

std::vector<std::string> ids_of(const std::vector<Job>& jobs) {
  std::vector<std::string> ids;
  for (const Job& job : jobs) ids.push_back(job.id);
  return ids;
}

/// The line about "data" with which a file is refused; empty where it is taken.
std::string refusal_of(const std::filesystem::path& file) {
  try {
    open_sqlite(file);
    return "";
  } catch (const InvalidRequest& error) {
    EXPECT_EQ(error.errors.size(), 1u);
    return error.errors[0].line();
  }
}

void expect_refused(const std::filesystem::path& file, const std::string& why, const std::string& way_out) {
  const std::string line = refusal_of(file);
  EXPECT_EQ(line.rfind("[data] must ", 0), 0u) << line;
  EXPECT_NE(line.find(why), std::string::npos) << line;
  const size_t end = line.find("; ");
  ASSERT_NE(end, std::string::npos) << line;
  EXPECT_NE(line.find(way_out, end), std::string::npos) << line;
}

TEST(Ids, AreRandomUuidsOfVersion4) {
  const std::string one = new_uuid(), other = new_uuid();
  EXPECT_NE(one, other);
  EXPECT_TRUE(is_uuid(one)) << one;
  EXPECT_EQ(one[14], '4') << one;
  EXPECT_NE(std::string("89ab").find(one[19]), std::string::npos) << one;
  EXPECT_EQ(random_hex(16).size(), 32u);
  EXPECT_EQ(random_hex(16).find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_FALSE(is_uuid(one + "0"));
  EXPECT_FALSE(is_uuid(one.substr(1) + "g"));
  EXPECT_FALSE(is_uuid(""));
}

TEST(Times, AreWhatClientsRead) {
  EXPECT_EQ(iso_time(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(iso_time(1'795'213'527'779), "2026-11-20T22:25:27.779Z");
  EXPECT_EQ(iso_time_with_offset(1'795'213'527'779), "2026-11-20T22:25:27.779+00:00");
  EXPECT_EQ(iso_time(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(iso_time(951'782'400'000), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(iso_time(std::numeric_limits<int64_t>::max()), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(iso_time(std::numeric_limits<int64_t>::min()), "0001-01-01T00:00:00.000Z");
  EXPECT_GT(now_ms(), 1'700'000'000'000);
}

TEST(JobErrors, AreALineForPeople) {
  EXPECT_EQ((JobError{500, "internal_error", "no luck"}.text()), "no luck");
  const nlohmann::ordered_json fields = {{{"loc", {"body", "prompt"}}, {"msg", "Field required"}},
                                         {{"loc", {"body", "loras", 2}}, {"msg", "Input should be a valid string"}},
                                         {{"loc", {"body"}}, {"msg", "no object"}},
                                         7};
  EXPECT_EQ((JobError{422, "", fields}.text()),
            "prompt: Field required; loras.2: Input should be a valid string; no object; 7");
}

TEST(Store, GivesBackEverythingOfAJob) {
  QueueFolder folder;
  Job job = a_job();
  job.priority = Priority::Low;
  job.start_before = 12;
  job.webhook = "http://127.0.0.1:9/hook";
  job.webhook_form = "fal";
  job.awaited = true;
  job.interruptions = 2;
  job.turn = true;
  job.saved = "0af";
  job.charged = 17;
  job.input["prompt"] = "quotes ' \" and \0 zero, caf\xC3\xA9"s;
  {
    const auto store = open_sqlite(folder.file());
    store->apply({PutJob{job}});
    EXPECT_EQ(all_of(*store->find(job.id)), all_of(job));
    job.status = JobStatus::Done;
    job.batch = "b1";
    job.deaths = 1;
    job.started = 5;
    job.ended = 6;
    job.output = JobOutput{"f.mp4", 7, std::numeric_limits<uint64_t>::max(), "a cat", 0.25};
    job.output->video_seconds = 5.0625;
    job.output->safety = {{"action", "blur"}, {"flagged", true}};
    job.error = JobError{422, "", {{{"loc", {"body", "z"}}, {"msg", "m"}, {"input", {{"z", 1}, {"a", 2}}}}}};
    job.input = {{"other", 1}};
    store->apply({PutJob{job}});
    EXPECT_EQ(store->count({}), 1);
  }
  EXPECT_EQ(all_of(*open_sqlite(folder.file())->find(job.id)), all_of(job));
  EXPECT_TRUE(open_sqlite(folder.file())->find(job.id)->output->is_flagged());
  EXPECT_FALSE(open_sqlite(folder.file())->find("x"));
}

TEST(Store, IsForItsUserAlone) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  store->apply({PutJob{a_job()}});
  for (const char* name : {"jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"}) {
    struct stat state {};
    ASSERT_EQ(stat((folder.path() / name).c_str(), &state), 0) << name;
    EXPECT_EQ(state.st_mode & 0777, 0600u) << name;
  }
}

TEST(Store, OrdersByArrivalWhateverTheClockSays) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  const std::vector<Job> jobs = {a_job("anna", 3000), a_job("anna", 1000), a_job("anna", 2000)};
  for (const Job& job : jobs) store->apply({PutJob{job}});
  store->apply({PutJob{jobs[0]}});  // keeps its place
  EXPECT_EQ(ids_of(store->unfinished()), ids_of(jobs));
  std::vector<std::string> newest = ids_of(store->list({}));
  std::reverse(newest.begin(), newest.end());
  EXPECT_EQ(newest, ids_of(jobs));
}

TEST(Store, AnswersEveryFilter) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  std::mt19937 random(7);
  std::vector<Job> jobs;
  std::vector<Change> changes;
  for (int i = 0; i < 80; ++i) {
    Job job = a_job(i % 3 ? "anna" : "bert", int64_t(random() % 10));
    job.status = JobStatus(random() % 5);
    job.hidden = random() % 4 == 0;
    jobs.push_back(job);
    changes.push_back(PutJob{job});
  }
  store->apply(changes);
  for (const std::optional<std::string>& owner : {std::optional<std::string>(), {"anna"}, {"nobody"}}) {
    for (const std::optional<bool> ended : {std::optional<bool>(), {true}, {false}}) {
      for (const std::optional<int64_t> before : {std::optional<int64_t>(), {40}}) {
        for (const bool hidden : {false, true}) {
          std::vector<std::string> wanted;
          for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) {
            if (owner && job->owner != *owner) continue;
            if (ended && is_ended(job->status) != *ended) continue;
            // The place of a job is its sequence, from 1.
            if (before && jobs.rend() - job >= *before) continue;
            if (!hidden && job->hidden) continue;
            wanted.push_back(job->id);
          }
          JobFilter filter{owner, ended, before, 1000, hidden};
          EXPECT_EQ(ids_of(store->list(filter)), wanted);
          EXPECT_EQ(store->count(filter), int64_t(wanted.size()));
          filter.most = 3;
          EXPECT_EQ(store->list(filter).size(), std::min<size_t>(3, wanted.size()));
          filter.most = -1;
          EXPECT_TRUE(store->list(filter).empty());
        }
      }
    }
  }
}

TEST(Store, ListsFromTheOldestOnWhereThatIsAsked) {
  const QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  std::vector<Job> jobs;
  for (int i = 0; i < 5; ++i) {
    jobs.push_back(a_job(i == 3 ? "bert" : "anna"));
    store->apply({PutJob{jobs.back()}});
  }
  JobFilter filter;
  filter.oldest_first = true;
  EXPECT_EQ(ids_of(store->list(filter)), ids_of(jobs));
  filter.after = 2;  // the place of a job is its sequence, from 1
  EXPECT_EQ(ids_of(store->list(filter)), ids_of({jobs[2], jobs[3], jobs[4]}));
  filter.most = 2;
  EXPECT_EQ(ids_of(store->list(filter)), ids_of({jobs[2], jobs[3]}));
  filter.owner = "anna";
  EXPECT_EQ(ids_of(store->list(filter)), ids_of({jobs[2], jobs[4]}));
  filter.oldest_first = false;
  EXPECT_EQ(ids_of(store->list(filter)), ids_of({jobs[4], jobs[2]}));
  EXPECT_EQ(store->count(filter), 2);
}

TEST(Store, NamesTheJobsThatEndedFirst) {
  const QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  std::vector<std::string> ids;
  const auto put = [&](int64_t ended, bool hidden, JobStatus status) {
    Job job = a_job();
    job.status = status, job.ended = ended, job.hidden = hidden;
    if (status == JobStatus::Done)
      job.output = JobOutput{.file = "v.mp4", .bytes = 7, .seed = 1, .prompt = "", .seconds = 1};
    store->apply({PutJob{job}});
    ids.push_back(job.id);
  };
  put(30, false, JobStatus::Done);
  put(10, false, JobStatus::Failed);
  put(20, true, JobStatus::Cancelled);
  put(0, false, JobStatus::Running);
  put(20, false, JobStatus::Cancelled);
  const std::vector<EndedJob> shown = store->oldest_ended(10, false), hidden = store->oldest_ended(10, true);
  ASSERT_EQ(shown.size(), 3u);
  EXPECT_EQ(shown[0].id, ids[1]);
  EXPECT_EQ(shown[0].file, "");
  EXPECT_EQ(shown[1].id, ids[4]);
  EXPECT_EQ(shown[2].id, ids[0]);
  EXPECT_EQ(shown[2].file, "v.mp4");
  EXPECT_EQ(shown[2].bytes, 7u);
  EXPECT_EQ(shown[2].ended, 30);
  ASSERT_EQ(hidden.size(), 1u);
  EXPECT_EQ(hidden[0].id, ids[2]);
  EXPECT_EQ(store->oldest_ended(2, false).size(), 2u);
}

TEST(Store, NothingIsLeftOfWhatWasRemoved) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  Job job = a_job("anna"), other = a_job("anna");
  job.input["prompt"] = job.fields["prompt"] = "a secret garden";
  other.input["prompt"] = "an open field";
  const auto in_files = [&](const std::string& text) {
    for (const char* end : {"", "-wal"}) {
      std::ifstream file(folder.file().string() + end, std::ios::binary);
      const std::string all{std::istreambuf_iterator<char>(file), {}};
      if (all.find(text) != all.npos) return true;
    }
    return false;
  };
  store->apply({PutJob{job}, PutJob{other}, AddLogs{job.id, {{1, "INFO", "of a secret message"}}}});
  EXPECT_TRUE(in_files("a secret garden"));
  job.hidden = true;
  job.input = job.fields = nullptr;
  store->apply({PutJob{job}});
  store->wipe_removed();
  EXPECT_FALSE(in_files("a secret"));
  EXPECT_TRUE(in_files("an open field"));
  EXPECT_EQ(store->find(other.id)->input["prompt"], "an open field");
}

TEST(Store, KnowsVideosAndPreviews) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  Job job = a_job();
  job.status = JobStatus::Done;
  job.preview_key = "0123";
  job.output = JobOutput{.file = "abc_video.mp4", .bytes = 7, .seed = 1, .prompt = "p", .seconds = 1};
  store->apply({PutJob{job}});
  EXPECT_TRUE(store->knows_file("abc_video.mp4"));
  EXPECT_TRUE(store->knows_file("0123"));
  for (const char* other : {"abd_video.mp4", "abc_video", "video.mp4", "012", ""})
    EXPECT_FALSE(store->knows_file(other)) << other;
  Job open = a_job();
  open.preview_key = "";
  store->apply({PutJob{open}});
  EXPECT_FALSE(store->knows_file("out.mp4"));
  job.hidden = true;
  store->apply({PutJob{job}});
  EXPECT_FALSE(store->knows_file("abc_video.mp4"));
  EXPECT_FALSE(store->knows_file("0123"));
}

TEST(Store, KnowsTheVideoOfAJobThatHasEnded) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  Job job = a_job();
  store->apply({PutJob{job}});
  EXPECT_FALSE(store->knows_file("abc_video.mp4"));
  job.status = JobStatus::Done;
  job.output = JobOutput{.file = "abc_video.mp4", .bytes = 7, .seed = 1, .prompt = "p", .seconds = 1};
  store->apply({PutJob{job}});
  EXPECT_TRUE(store->knows_file("abc_video.mp4"));
}

/// How SQLite goes about a query: a line each step.
std::string plan_of(Database& database, const std::string& sql) {
  std::string plan;
  Statement explain = database.prepare("EXPLAIN QUERY PLAN " + sql);
  for (Rows row = explain.rows(); row.next();) plan += std::string(row.text(3)) + "\n";
  return plan;
}

// A pass asks about 200 files; among many jobs it would hold the store up for seconds.
TEST(Store, FindsFilesByTheirIndex) {
  QueueFolder folder;
  open_sqlite(folder.file());
  Database database(folder.file());
  for (const char* name : {"jobs_video", "jobs_preview"}) {
    const std::string column = name == std::string("jobs_video") ? "video" : "preview_key";
    const std::string plan = plan_of(
        database, "SELECT 1 FROM jobs INDEXED BY " + std::string(name) + " WHERE hidden = 0 AND " + column + " = 'x'");
    EXPECT_NE(plan.find("INDEX " + std::string(name) + " ("), plan.npos) << plan;
  }
}

TEST(Store, KeepsLogsHooksAndUploads) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  const Job job = a_job(), other = a_job();
  store->apply({PutJob{job}, PutJob{other}, AddLogs{job.id, {{1, "INFO", "one"}, {2, "WARN", "two"}}}});
  store->apply(
      {AddLogs{job.id, {{0, "INFO", "three"}}}, AddLogs{"unknown", {{0, "INFO", "x"}}}, PutHook{"unknown", 1, 2}});
  std::string lines;
  for (const LogEntry& entry : store->logs(job.id))
    lines += std::to_string(entry.time) + entry.level + entry.message + " ";
  EXPECT_EQ(lines, "1INFOone 2WARNtwo 0INFOthree ");
  EXPECT_TRUE(store->logs(other.id).empty());

  store->apply({PutHook{job.id, 0, 30}, PutHook{other.id, 0, 20}});
  store->apply({PutHook{job.id, 2, 10}});
  auto hooks = store->hooks();
  ASSERT_EQ(hooks.size(), 2u);
  EXPECT_EQ(hooks[0].job, job.id);
  EXPECT_EQ(hooks[0].tries, 2);
  EXPECT_EQ(hooks[0].due, 10);
  store->apply({RemoveHook{other.id}, RemoveJob{job.id}, RemoveJob{"unknown"}});
  EXPECT_TRUE(store->hooks().empty());
  EXPECT_TRUE(store->logs(job.id).empty());
  EXPECT_FALSE(store->find(job.id));

  store->apply({PutUpload{"a", "anna", "image/png", 5, 100}, PutUpload{"b", "anna", "", 7, 50},
                PutUpload{"c", "bert", "", 1, 10}});
  EXPECT_EQ(store->find_upload("a")->type, "image/png");
  EXPECT_FALSE(store->find_upload("x"));
  EXPECT_EQ(store->upload_bytes("anna"), 12u);
  EXPECT_EQ(store->upload_bytes("nobody"), 0u);
  const auto old = store->uploads_before(100, 10);
  ASSERT_EQ(old.size(), 2u);
  EXPECT_EQ(old[0].file, "c");
  EXPECT_EQ(old[1].file, "b");
  store->apply({RemoveUpload{"a"}});
  EXPECT_FALSE(store->find_upload("a"));
}

TEST(Store, CountsSecondsOfVideoAlsoOfRemovedJobs) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  Job job = a_job("anna", 100), usual = a_job("anna", 200), text = a_job("anna", 300), old = a_job("anna", 10);
  usual.fields = {{"task", "t2v"}};  // 81 frames at 16 a second
  text.fields = {{"task", "t2v"}, {"num_frames", "40"}, {"frames_per_second", "20"}};
  store->apply({PutJob{job}, PutJob{usual}, PutJob{text}, PutJob{old}, PutJob{a_job("bert", 100)}});
  EXPECT_DOUBLE_EQ(store->video_seconds_since("anna", 100), 2 + 81 / 16. + 2);
  job.hidden = true;
  job.fields = nullptr;
  store->apply({PutJob{job}});
  EXPECT_DOUBLE_EQ(store->video_seconds_since("anna", 100), 2 + 81 / 16. + 2);
  EXPECT_EQ(store->video_seconds_since("nobody", 0), 0);
}

TEST(Store, ErasesTheLogsOfAHiddenJob) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  Job job = a_job();
  store->apply({PutJob{job}, AddLogs{job.id, {{1, "INFO", "a cat"}}}});
  job.hidden = true;
  store->apply({PutJob{job}});
  EXPECT_TRUE(store->logs(job.id).empty());
}

TEST(Store, TakesAllChangesOrNone) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  const Job good = a_job();
  Job large = a_job();
  large.input["prompt"] = std::string(kMostJobBytes, 'x');
  try {
    store->apply({PutJob{good}, PutJob{large}});
    ADD_FAILURE() << "was taken";
  } catch (const JobTooLarge& error) {
    EXPECT_NE(std::string(error.what()).find("[input] must have at most 8388608 bytes"), std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(store->find(good.id));
  store->apply({PutJob{good}});
  EXPECT_TRUE(store->find(good.id));
}

TEST(Store, MakesAFailedJobOfARecordThatCannotBeRead) {
  QueueFolder folder;
  std::vector<Job> jobs;
  for (int i = 0; i < 7; ++i) jobs.push_back(a_job());
  jobs[5].status = JobStatus::Done;
  {
    const auto store = open_sqlite(folder.file());
    for (const Job& job : jobs) store->apply({PutJob{job}});
  }
  {
    Database database(folder.file());
    const auto spoil = [&](const std::string& what, const Job& job) {
      database.prepare("UPDATE jobs SET " + what + " WHERE id = ?").run(job.id);
    };
    database.run("UPDATE inputs SET input = '{\"prompt\": ' WHERE job = 1");
    database.prepare("UPDATE inputs SET fields = ? WHERE job = 2").run(std::string(100'000, '['));
    database.run("DELETE FROM inputs WHERE job = 3");
    spoil("status = -1", jobs[3]);
    spoil("error = '{\"status\": \"x\"}'", jobs[4]);
    spoil("output = '[]'", jobs[5]);
  }
  const auto store = open_sqlite(folder.file());
  EXPECT_TRUE(store->take_troubles().empty());
  const std::vector<Job> unfinished = store->unfinished();
  EXPECT_EQ(unfinished.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    const auto job = store->find(jobs[i].id);
    ASSERT_TRUE(job) << i;
    EXPECT_EQ(job->status, JobStatus::Failed) << i;
    ASSERT_TRUE(job->error) << i;
    EXPECT_EQ(job->error->status, 500) << i;
    EXPECT_EQ(job->error->type, "internal_error") << i;
    EXPECT_EQ(job->owner, "anna") << i;
  }
  EXPECT_EQ(store->find(jobs[6].id)->status, JobStatus::Queued);
  const auto troubles = store->take_troubles();
  EXPECT_EQ(troubles.size(), 11u);  // five of the unfinished, six of find()
  for (const std::string& trouble : troubles) {
    EXPECT_EQ(trouble.rfind("[data] the record of job ", 0), 0u) << trouble;
  }
  EXPECT_TRUE(store->take_troubles().empty());
}

TEST(Schema, MigratesForwardsAndKeepsWhatIsThere) {
  QueueFolder folder;
  const std::vector<Migration> first = {{"CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7)"}};
  std::vector<Migration> third = first;
  third.push_back({"ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 8"});
  third.push_back({"CREATE TABLE b AS SELECT x + y AS z FROM a"});
  {
    Database database(folder.file());
    check_identity(database, "f", 1);
    migrate(database, first);
    EXPECT_EQ(database.integer("PRAGMA user_version"), 1);
    EXPECT_EQ(database.integer("PRAGMA application_id"), kApplication);
  }
  Database database(folder.file());
  check_identity(database, "f", 3);
  migrate(database, third);
  EXPECT_EQ(database.integer("PRAGMA user_version"), 3);
  EXPECT_EQ(database.integer("SELECT z FROM b"), 15);
  migrate(database, third);
  EXPECT_EQ(database.integer("SELECT count(*) FROM b"), 1);

  std::vector<Migration> broken = third;
  broken.push_back({"DROP TABLE b; CREATE TABLE a (x)"});
  EXPECT_THROW(migrate(database, broken), SqliteError);
  EXPECT_EQ(database.integer("PRAGMA user_version"), 3);
  EXPECT_EQ(database.integer("SELECT z FROM b"), 15);
}

TEST(Schema, TakesAnOlderDatabase) {
  QueueFolder folder;
  {
    Database database(folder.file());
    database.run(("PRAGMA application_id = " + std::to_string(kApplication)).c_str());
  }
  open_sqlite(folder.file())->apply({PutJob{a_job()}});
  Database database(folder.file());
  EXPECT_EQ(database.integer("PRAGMA user_version"), int64_t(migrations().size()));
  EXPECT_EQ(database.integer("SELECT count(*) FROM jobs"), 1);
}

TEST(Schema, TakesJobsOfVersionOne) {
  QueueFolder folder;
  {
    Database database(folder.file());
    const std::vector<Migration> first(migrations().begin(), migrations().begin() + 1);
    migrate(database, first);
    const auto add = [&](const std::string& id, int status, const std::string& fields) {
      database
          .prepare(
              "INSERT INTO jobs (id, owner, endpoint, priority, created, webhook, webhook_form, preview_key, hidden, "
              "status, batch, deaths, started, ended, video_seconds) VALUES (?, 'anna', 'e', 0, 7, '', '', 'k', 0, ?, "
              "'', 0, 1, 2, 3)")
          .run(id, status);
      database.prepare("INSERT INTO inputs SELECT sequence, '{}', ? FROM jobs WHERE id = ?").run(fields, id);
    };
    add("one", 2, R"({"resolution": "720p", "num_frames": 80})");
    add("two", 2, R"({"resolution": "720p", "num_frames": 40.5})");
    add("odd", 2, R"({"resolution": 7, "num_frames": "many"})");
    add("broken", 2, "{");
    add("open", 1, R"({"resolution": "720p", "num_frames": 80})");
  }
  const auto store = open_sqlite(folder.file());
  const std::vector<MadeVideos> made = store->made_videos("anna");
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[0].resolution, "");
  EXPECT_EQ(made[0].videos, 2);
  EXPECT_FALSE(made[0].frames.has_value());
  EXPECT_EQ(made[1].resolution, "720p");
  EXPECT_EQ(made[1].videos, 2);
  EXPECT_EQ(made[1].frames, 120.5);
  EXPECT_TRUE(store->made_videos("bert").empty());
  EXPECT_EQ(store->find("open")->interruptions, 0);
  EXPECT_FALSE(store->find("open")->awaited);
  EXPECT_EQ(store->find("two")->sequence, 2);
}

TEST(Schema, TakesJobsOfVersionTwo) {
  QueueFolder folder;
  {
    Database database(folder.file());
    const std::vector<Migration> two(migrations().begin(), migrations().begin() + 2);
    migrate(database, two);
    const auto add = [&](const std::string& id, int status, int interruptions, const std::string& output) {
      database
          .prepare(
              "INSERT INTO jobs (id, owner, endpoint, priority, created, webhook, webhook_form, preview_key, hidden, "
              "status, batch, deaths, started, ended, video_seconds, interruptions, output) VALUES (?, 'anna', 'e', 0, "
              "70, "
              "'', '', ?, 0, ?, '', 0, 1, 2, 3, ?, ?)")
          .run(id, "key of " + id, status, interruptions, output);
      database.prepare("INSERT INTO inputs SELECT sequence, '{}', '{}' FROM jobs WHERE id = ?").run(id);
    };
    add("one", 2, 0, R"({"file": "one.mp4", "bytes": 1, "seed": 1, "prompt": "", "seconds": 1})");
    add("broken", 2, 0, R"({"file": "broken.mp4")");
    add("odd", 2, 0, R"({"file": {"a": 1}})");
    add("open", 1, 7, "");
  }
  const auto store = open_sqlite(folder.file());
  EXPECT_TRUE(store->knows_file("one.mp4"));
  EXPECT_TRUE(store->knows_file("key of open"));
  EXPECT_FALSE(store->knows_file("broken.mp4"));
  EXPECT_EQ(store->find("open")->interruptions, 0) << "those were counted of all that were running";
  EXPECT_FALSE(store->find("open")->turn);
  EXPECT_EQ(store->find("one")->charged, 70);
  EXPECT_EQ(store->last_charged(), 70);
  EXPECT_DOUBLE_EQ(store->video_seconds_since("anna", 70), 12);
  EXPECT_DOUBLE_EQ(store->video_seconds_since("anna", 71), 0);
}

TEST(OpenStore, RefusesANewerVersion) {
  QueueFolder folder;
  open_sqlite(folder.file());
  Database(folder.file()).run("PRAGMA user_version = 99");
  expect_refused(folder.file(), "of version 3 or older, got 99", "start the newer server");
}

TEST(OpenStore, RefusesAnotherProgramsFile) {
  for (const char* sql : {"CREATE TABLE notes (x)", "PRAGMA application_id = 5", "PRAGMA user_version = 1"}) {
    QueueFolder folder;
    Database(folder.file()).run(sql);
    expect_refused(folder.file(), "is another program's database", "name another folder");
    Database database(folder.file());
    EXPECT_EQ(database.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'jobs'"), 0) << sql;
  }
}

TEST(OpenStore, RefusesAFolderThatAnotherServerHas) {
  QueueFolder folder;
  auto first = open_sqlite(folder.file());
  expect_refused(folder.file(), "no other server uses", "stop that server");
  first.reset();
  EXPECT_EQ(refusal_of(folder.file()), "");
}

TEST(OpenStore, RefusesAFileThatAnotherProgramLocks) {
  QueueFolder folder;
  open_sqlite(folder.file());
  Database other(folder.file());
  other.run("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE");
  expect_refused(folder.file(), "is locked", "end the program");
}

TEST(OpenStore, RefusesAReadOnlyFileAndFolder) {
  QueueFolder folder;
  open_sqlite(folder.file());
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0777));
  std::filesystem::permissions(folder.file(), std::filesystem::perms(0444));
  auto line = as_other_user([&] { return refusal_of(folder.file()); });
  if (!line) GTEST_SKIP() << "rights cannot be given up here";
  EXPECT_NE(line->find("is read-only; give this user the right"), std::string::npos) << *line;
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0555));
  line = as_other_user([&] { return refusal_of(folder.file()); });
  EXPECT_NE(line->find("is read-only; give this user the right"), std::string::npos) << *line;
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0700));
}

TEST(OpenStore, RefusesADamagedFile) {
  QueueFolder folder;
  {
    const auto store = open_sqlite(folder.file());
    for (int i = 0; i < 300; ++i) store->apply({PutJob{a_job()}});
  }
  const auto size = std::filesystem::file_size(folder.file());
  {
    std::fstream file(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
    for (std::streamoff at = 4096; at < std::streamoff(size); at += 4096) {
      file.seekp(at);
      file.write(std::string(64, '\xA5').data(), 64);
    }
  }
  expect_refused(folder.file(), "is damaged", "restore it from a copy");
  std::ofstream(folder.file(), std::ios::trunc) << "this is a text and no database, and it is long enough for a header "
                                                   "of one hundred bytes, which SQLite looks at";
  expect_refused(folder.file(), "is damaged", "restore it from a copy");
}

TEST(OpenStore, RefusesAFolderThatIsNotThere) {
  QueueFolder folder;
  expect_refused(folder.path() / "none" / "jobs.sqlite", "there is none at", "make it");
  std::filesystem::create_directory(folder.file());
  expect_refused(folder.file(), "cannot", "name another folder");
}

/// While it lives, nothing more fits on a disk.
class FullDisk {
 public:
  FullDisk() {
    for (const char* name : kNames) set(name, reinterpret_cast<sqlite3_syscall_ptr>(&refuse));
  }
  ~FullDisk() {
    for (const char* name : kNames) set(name, nullptr);
  }

 private:
  static constexpr const char* kNames[] = {"write", "pwrite", "pwrite64"};
  static void set(const char* name, sqlite3_syscall_ptr call) {
    sqlite3_vfs* files = sqlite3_vfs_find(nullptr);
    files->xSetSystemCall(files, name, call);
  }
  static ssize_t refuse(int, const void*, size_t) {
    errno = ENOSPC;
    return -1;
  }
};

TEST(Store, GoesOnAfterAFullDisk) {
  QueueFolder folder;
  const Job before = a_job(), refused = a_job(), after = a_job();
  {
    const auto store = open_sqlite(folder.file());
    store->apply({PutJob{before}});
    {
      const FullDisk full;
      try {
        store->apply({PutJob{refused}});
        ADD_FAILURE() << "was taken";
      } catch (const StoreUnavailable& error) {
        EXPECT_NE(std::string(error.what()).find("full; make room"), std::string::npos) << error.what();
      }
      EXPECT_EQ(store->count({}), 1);
    }
    store->apply({PutJob{after}});
  }
  EXPECT_EQ(ids_of(open_sqlite(folder.file())->unfinished()), ids_of({before, after}));
}

}  // namespace
}  // namespace wan::serve
