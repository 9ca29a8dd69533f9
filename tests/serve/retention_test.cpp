// What is kept: never less than open jobs need, and no more than the operator wants.
#include "engine/serve/retention.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <memory>

#include "engine/serve/job_files.h"
#include "engine/serve/queue/times.h"
#include "tests/serve/on_io.h"
#include "tests/serve/queue_jobs.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int64_t kHour = 3600'000, kDay = 24 * kHour;

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A data folder: filled, then looked after.
class Place {
 public:
  Place() {
    for (const char* name : {"outputs", "previews", "uploads", "parts"}) fs::create_directory(folder_.path() / name);
    options.data = folder_.path();
  }

  /// A file of so many bytes that was written before `age` ms.
  void file(const std::string& name, size_t bytes, int64_t age) const {
    std::ofstream(folder_.path() / name) << std::string(bytes, 'x');
    touch(name, age);
  }
  void touch(const std::string& name, int64_t age) const {
    const int64_t time = now_ms() - age;
    const timespec times[2] = {{time / 1000, 0}, {time / 1000, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, (folder_.path() / name).c_str(), times, 0), 0);
  }
  bool has(const std::string& name) const { return fs::exists(folder_.path() / name); }

  /// A job with a video `name`.mp4 and a preview that ended before `age` ms. Its id.
  std::string ended(const std::string& name, size_t bytes, int64_t age, bool hidden = false) {
    Job job = a_job("anna", now_ms() - age - 1000);
    job.status = JobStatus::Done;
    job.ended = now_ms() - age;
    job.preview_key = name;
    job.hidden = hidden;
    job.output = JobOutput{.file = name + ".mp4", .bytes = bytes, .seed = 1, .prompt = "", .seconds = 1};
    file("outputs/" + name + ".mp4", bytes, age);
    file("previews/" + name + ".jpg", 10, age);
    changes_.push_back(PutJob{job});
    return job.id;
  }
  void upload(const std::string& name, size_t bytes, int64_t age) {
    file("uploads/" + name, bytes, age);
    changes_.push_back(PutUpload{name, "anna", "image/png", bytes, now_ms() - age});
  }
  /// A job that waits and needs this file of the server.
  std::string open(const std::string& url, int64_t age = 0) {
    Job job = a_job("anna", now_ms() - age);
    job.input["image_url"] = url;
    changes_.push_back(PutJob{job});
    return job.id;
  }

  /// From here on a server works in the folder.
  void start() {
    open_sqlite(folder_.file())->apply(changes_);
    jobs.emplace(io, open_sqlite(folder_.file()), [](const std::string&) {});
    files.emplace(folder_.path(), *jobs);
    retention.emplace(
        io, *jobs, *files, pool, options, [this](const std::string& why) { paused.push_back(why); },
        [this] { ++resumed; }, [this](const std::string& line) { told.push_back(line); });
    jobs->on_submit = [this](const JobPtr& job) { retention->submitted(job); };
    jobs->on_end = [this](const JobPtr& job) { retention->ended(job); };
    jobs->on_remove = [this](const Job& job) { retention->remove_files(job); };
    for (const JobPtr& job : jobs->unfinished()) retention->submitted(job);
  }
  void sweep() {
    on_io(io, retention->sweep());
    rest();
  }
  /// Until what is removed in the background is gone.
  void rest() {
    for (int i = 0; i < 3; ++i) {
      on_io(io, pool.run([] {}));
      records();
    }
  }
  /// As an upload that comes now.
  void comes(const std::string& name, size_t bytes) {
    file("uploads/" + name, bytes, 0);
    std::vector<Change> changes(1, PutUpload{name, "anna", "image/png", bytes, now_ms()});
    on_io(io, jobs->write(std::move(changes)));
    files->in_use().came(name);
  }
  JobPtr submit(const Job& job) { return on_io(io, jobs->submit(job)); }
  bool knows_upload(const std::string& name) {
    std::function<bool(Store&)> question = [name](Store& store) { return store.find_upload(name).has_value(); };
    return on_io(io, jobs->ask<bool>(std::move(question)));
  }
  bool knows(const std::string& id) { return on_io(io, jobs->find(id, std::nullopt)) != nullptr; }
  /// Records of the store, those of removed jobs, too.
  size_t records() {
    std::function<int64_t(Store&)> question = [](Store& store) {
      JobFilter filter;
      filter.hidden = true;
      return store.count(filter);
    };
    return size_t(on_io(io, jobs->ask<int64_t>(std::move(question))));
  }
  void end(const std::string& id) {
    const JobPtr job = on_io(io, jobs->find(id, std::nullopt));
    jobs->fail(job, {500, "internal_error", "x"});
    ASSERT_TRUE(run_until(io, [&] { return job->job.status == JobStatus::Failed; }));
  }

  RetentionOptions options;
  boost::asio::io_context io;
  Pool pool{1};
  std::vector<std::string> paused, told;
  int resumed = 0;
  std::optional<Jobs> jobs;
  std::optional<Files> files;
  std::optional<Retention> retention;

 private:
  QueueFolder folder_;
  std::vector<Change> changes_;
};

TEST(Retention, RemovesWhatIsOlderThanItsTime) {
  Place place;
  const std::string old = place.ended("old", 100, 8 * kDay), young = place.ended("young", 100, 6 * kDay);
  place.upload("0a_old.png", 100, 8 * kDay);
  place.upload("0b_young.png", 100, 6 * kDay);
  place.start();
  place.sweep();
  EXPECT_FALSE(place.knows(old));
  EXPECT_TRUE(place.knows(young));
  for (const char* gone : {"outputs/old.mp4", "previews/old.jpg", "uploads/0a_old.png"})
    EXPECT_FALSE(place.has(gone)) << gone;
  for (const char* kept : {"outputs/young.mp4", "previews/young.jpg", "uploads/0b_young.png"})
    EXPECT_TRUE(place.has(kept)) << kept;
  EXPECT_EQ(place.retention->removed_jobs(), 1u);
  EXPECT_EQ(place.retention->removed_uploads(), 1u);
}

TEST(Retention, ManyAreRemovedInOnePass) {
  Place place;
  for (int i = 0; i < 70; ++i) {
    place.ended("old" + std::to_string(i), 1, 8 * kDay + i);
    place.upload("0a_" + std::to_string(i), 1, 8 * kDay + i);
  }
  place.start();
  place.sweep();
  EXPECT_EQ(place.retention->removed_jobs(), 70u);
  EXPECT_EQ(place.retention->removed_uploads(), 70u);
}

TEST(Retention, NothingGoesWithoutALimit) {
  Place place;
  place.options.keep = 0s;
  const std::string id = place.ended("old", 100, 1000 * kDay);
  place.upload("0a_old.png", 100, 1000 * kDay);
  place.file("outputs/unknown.mp4", 1, 1000 * kDay);
  place.start();
  place.sweep();
  EXPECT_TRUE(place.knows(id));
  for (const char* kept : {"outputs/old.mp4", "uploads/0a_old.png", "outputs/unknown.mp4"})
    EXPECT_TRUE(place.has(kept)) << kept;
}

TEST(Retention, WhatOpenJobsNeedStays) {
  Place place;
  place.options.keep_bytes = 1;
  place.upload("0a_needed.png", 100, 30 * kDay);
  place.upload("0b_not.png", 100, 30 * kDay);
  const std::string video = place.ended("video", 100, 30 * kDay);
  const std::string first = place.open("/files/uploads/0a_needed.png", 20 * kDay);
  const std::string second = place.open("https://host/files/uploads/0a_needed.png?x=1", 20 * kDay);
  const std::string third = place.open("/files/outputs/video.mp4", 20 * kDay);
  place.start();
  place.sweep();
  EXPECT_TRUE(place.has("uploads/0a_needed.png"));
  EXPECT_FALSE(place.has("uploads/0b_not.png"));
  EXPECT_TRUE(place.has("outputs/video.mp4"));
  EXPECT_TRUE(place.knows(video));
  for (const std::string& id : {first, second, third}) EXPECT_TRUE(place.knows(id));

  place.end(first);
  place.sweep();
  EXPECT_TRUE(place.has("uploads/0a_needed.png"));
  place.end(second);
  place.end(third);
  place.sweep();
  EXPECT_FALSE(place.has("uploads/0a_needed.png"));
  EXPECT_FALSE(place.has("outputs/video.mp4"));
}

TEST(Retention, AVideoThatItsOwnerRemovesStaysForTheJobThatNeedsIt) {
  Place place;
  const std::string video = place.ended("video", 100, kHour);
  const std::string open = place.open("/files/outputs/video.mp4");
  place.start();
  EXPECT_TRUE(on_io(place.io, place.jobs->remove(video, std::nullopt)));
  place.sweep();
  EXPECT_TRUE(place.has("outputs/video.mp4"));
  EXPECT_FALSE(place.has("previews/video.jpg"));
  place.end(open);
  place.sweep();
  EXPECT_FALSE(place.has("outputs/video.mp4"));
}

TEST(Retention, TheOldestGoWhereTheyTakeTooMuch) {
  Place place;
  place.options.keep_bytes = 2500;
  const std::string a = place.ended("a", 1000, 5 * kHour);
  place.upload("0b.png", 1000, 4 * kHour);
  const std::string c = place.ended("c", 1000, 3 * kHour);
  place.upload("0d.png", 1000, 2 * kHour);
  place.start();
  place.sweep();
  EXPECT_FALSE(place.knows(a));
  EXPECT_FALSE(place.has("uploads/0b.png"));
  EXPECT_TRUE(place.knows(c));
  EXPECT_TRUE(place.has("uploads/0d.png"));
  place.sweep();
  EXPECT_TRUE(place.knows(c));
  EXPECT_EQ(place.retention->use().outputs, 1000u);
  EXPECT_EQ(place.retention->use().uploads, 1000u);
}

TEST(Retention, WhatIsNewStaysHoweverMuchItTakes) {
  Place place;
  place.options.keep_bytes = 1;
  const std::string id = place.ended("new", 1000, kHour / 2);
  place.upload("0a.png", 1000, kHour / 2);
  place.start();
  place.sweep();
  EXPECT_TRUE(place.knows(id));
  EXPECT_TRUE(place.has("outputs/new.mp4"));
  EXPECT_TRUE(place.has("uploads/0a.png"));
}

TEST(Retention, RecordsOfRemovedJobsStayForTheirQuotaOfADay) {
  Place place;
  place.ended("recent", 1, 20 * kHour, true);
  place.ended("older", 1, 26 * kHour, true);
  place.start();
  EXPECT_EQ(place.records(), 2u);
  place.sweep();
  EXPECT_EQ(place.records(), 1u);
}

TEST(Retention, LeftoversGoOnceNobodyCanNeedThem) {
  Place place;
  place.file("outputs/unknown.mp4", 1, 9 * kDay);
  place.file("uploads/unknown.part", 1, 9 * kDay);
  place.file("outputs/fresh.mp4", 1, 2 * kDay);
  fs::create_directory(place.options.data / "parts/old");
  place.file("parts/old/1", 1, 2 * kDay);
  place.touch("parts/old", 2 * kDay);
  fs::create_directory(place.options.data / "parts/new");
  place.file("parts/new/1", 1, kHour);
  place.touch("parts/new", 2 * kDay);
  place.start();
  place.sweep();
  for (const char* gone : {"outputs/unknown.mp4", "uploads/unknown.part", "parts/old"})
    EXPECT_FALSE(place.has(gone)) << gone;
  for (const char* kept : {"outputs/fresh.mp4", "parts/new/1"}) EXPECT_TRUE(place.has(kept)) << kept;
}

// After a long rest: the worker had finished it, and the server was killed before it took note.
TEST(Retention, TheVideoOfAJobThatIsStillOpenStays) {
  Place place;
  place.open("", 10 * kDay);
  place.file("outputs/finished.mp4", 1, 9 * kDay);
  place.start();
  place.sweep();
  EXPECT_TRUE(place.has("outputs/finished.mp4"));
}

// Finished before the server was away for long: its job ended when the next one took note of it.
TEST(Retention, WhatTheStoreKnowsIsNoLeftover) {
  Place place;
  place.ended("video", 1, kHour);
  place.upload("0a.png", 1, kHour);
  for (const char* name : {"outputs/video.mp4", "previews/video.jpg", "uploads/0a.png"}) place.touch(name, 9 * kDay);
  place.file("previews/unknown.jpg", 1, 9 * kDay);
  place.start();
  place.sweep();
  for (const char* kept : {"outputs/video.mp4", "previews/video.jpg", "uploads/0a.png"})
    EXPECT_TRUE(place.has(kept)) << kept;
  EXPECT_FALSE(place.has("previews/unknown.jpg"));
}

TEST(Retention, PartsOfUploadsCountForTheBytes) {
  Place place;
  place.options.keep_bytes = 1500;
  const std::string id = place.ended("a", 1000, 5 * kHour);
  fs::create_directory(place.options.data / "parts/new");
  place.file("parts/new/1.aa", 1000, kHour);
  place.start();
  place.sweep();
  EXPECT_FALSE(place.knows(id));
}

TEST(Retention, WhatARequestNeedsStaysUntilItsJobIsThere) {
  Place place;
  place.options.youngest = 0s;
  place.options.keep_bytes = 1;
  place.upload("0a.png", 100, 30 * kDay);
  place.start();
  auto request = std::make_unique<FilesInUse::Claim>(place.files->in_use());
  request->add("0a.png");
  place.sweep();
  EXPECT_TRUE(place.has("uploads/0a.png"));
  Job job = a_job("anna", now_ms());
  job.input["image_url"] = "/files/uploads/0a.png";
  const JobPtr accepted = place.submit(job);
  request.reset();
  place.sweep();
  EXPECT_TRUE(place.has("uploads/0a.png"));
  place.end(accepted->job.id);
  place.sweep();
  EXPECT_FALSE(place.has("uploads/0a.png"));
}

TEST(Retention, InputsOfDataUrlsGoWithTheirJob) {
  Place place;
  place.start();
  const std::string own = Files::new_input_name("image_url.png"), sent = Files::new_name("photo.png");
  for (const std::string& name : {own, sent}) place.comes(name, 10);
  Job job = a_job("anna", now_ms());
  job.input = {{"image_url", "/files/uploads/" + own}, {"audio_url", "/files/uploads/" + sent}};
  const std::string id = place.submit(job)->job.id;
  Job again = a_job("anna", now_ms());
  again.input = {{"image_url", "http://host/files/uploads/" + own}};
  const std::string other = place.submit(again)->job.id;
  place.end(id);
  place.rest();
  EXPECT_TRUE(place.has("uploads/" + own)) << "the page shows it";
  EXPECT_TRUE(on_io(place.io, place.jobs->remove(id, std::nullopt)));
  place.rest();
  EXPECT_TRUE(place.has("uploads/" + own)) << "another job needs it";
  place.end(other);
  place.rest();
  EXPECT_FALSE(place.has("uploads/" + own));
  EXPECT_FALSE(place.knows_upload(own));
  EXPECT_TRUE(place.has("uploads/" + sent));
  EXPECT_TRUE(place.knows_upload(sent));
}

TEST(Retention, InputsOfARequestThatIsRefusedGo) {
  Place place;
  place.start();
  const std::string name = Files::new_input_name("image_url.png");
  {
    FilesInUse::Claim request(place.files->in_use());
    request.add(name);
    place.files->in_use().made(name);
    place.comes(name, 10);
  }
  place.rest();
  EXPECT_FALSE(place.has("uploads/" + name));
  EXPECT_FALSE(place.knows_upload(name));
}

/// Clocks that a test sets.
struct SetClocks {
  int64_t wall = now_ms(), boot = kDay;
  Clocks clocks() {
    return {[this] { return wall; }, [this] { return boot; }};
  }
  void pass(int64_t time) { wall += time, boot += time; }
};

TEST(Retention, AClockThatIsSetBackRemovesNothing) {
  Place place;
  SetClocks time;
  time.wall += 30 * kDay;  // wrong at the start
  place.options.clocks = time.clocks();
  place.options.keep_bytes = 1;
  place.start();
  place.sweep();
  time.wall -= 30 * kDay;
  const std::string upload = Files::new_name("a.png");
  place.comes(upload, 1000);
  place.file("parts/0123", 1000, 0);
  const std::string id = place.submit(a_job("anna", now_ms()))->job.id;
  place.end(id);
  for (const int64_t later : {kHour / 60, 2 * kHour, 20 * kHour}) {
    time.pass(later);
    place.sweep();
    EXPECT_TRUE(place.knows(id)) << later;
    EXPECT_TRUE(place.has("uploads/" + upload)) << later;
    EXPECT_TRUE(place.has("parts/0123")) << later;
  }
  ASSERT_EQ(place.told.size(), 1u);
  EXPECT_NE(place.told[0].find("set back by 720 h"), std::string::npos) << place.told[0];
  // After a day the clock is believed, and what has the age goes.
  time.pass(4 * kHour);
  place.sweep();
  EXPECT_FALSE(place.has("uploads/" + upload));
}

TEST(Retention, AClockThatIsSetForwardRemovesNothingOfThisProcess) {
  Place place;
  SetClocks time;
  place.options.clocks = time.clocks();
  place.start();
  const std::string upload = Files::new_name("a.png");
  place.comes(upload, 1000);
  const std::string id = place.submit(a_job("anna", now_ms()))->job.id;
  place.end(id);
  time.wall += 1000 * kDay;
  for (int day = 0; day < 6; ++day) {
    place.sweep();
    EXPECT_TRUE(place.knows(id)) << day;
    EXPECT_TRUE(place.knows_upload(upload)) << day;
    time.pass(kDay + 1);
  }
  time.pass(kDay);
  place.sweep();
  EXPECT_FALSE(place.knows(id));
}

TEST(Retention, AStartWithAClockThatIsFarAheadRemovesNothingAtOnce) {
  Place place;
  const std::string id = place.ended("video", 100, kHour);
  std::ofstream(place.options.data / "clock") << now_ms() - kHour << "\n";
  SetClocks time;
  time.wall += 30 * kDay;
  place.options.clocks = time.clocks();
  place.start();
  place.sweep();
  EXPECT_TRUE(place.knows(id));
  time.pass(kHour / 2);
  time.wall -= 30 * kDay;  // the network sets it
  place.sweep();
  time.pass(kHour);
  place.sweep();
  EXPECT_TRUE(place.knows(id));
  EXPECT_LT(std::stoll(bytes_of(place.options.data / "clock")), now_ms());
}

TEST(Retention, AServerThatWasAwayWaitsAnHour) {
  Place place;
  const std::string id = place.ended("video", 100, 20 * kDay);
  std::ofstream(place.options.data / "clock") << now_ms() - 20 * kDay << "\n";
  SetClocks time;
  place.options.clocks = time.clocks();
  place.start();
  place.sweep();
  EXPECT_TRUE(place.knows(id));
  time.pass(kHour + 1);
  place.sweep();
  EXPECT_FALSE(place.knows(id));
  EXPECT_EQ(std::stoll(bytes_of(place.options.data / "clock")), time.wall);
  EXPECT_EQ(fs::status(place.options.data / "clock").permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST(Retention, AFullDiskPausesTheQueueOnceAndResumesIt) {
  Place place;
  uint64_t free = 3000;
  place.options.least_free_bytes = 1000;
  place.options.free_bytes = [&](const fs::path&) { return free; };
  place.start();
  const auto look = [&](uint64_t bytes) {
    free = bytes;
    on_io(place.io, place.retention->look_at_disk());
    return place.retention->use().free;
  };
  EXPECT_EQ(look(3000), 3000u);
  EXPECT_TRUE(place.paused.empty());
  look(999);
  look(10);
  ASSERT_EQ(place.paused.size(), 1u);
  EXPECT_NE(place.paused[0].find("jobs wait until there is room"), std::string::npos);
  EXPECT_EQ(place.told.size(), 1u);
  look(1050);  // a little more is not enough to begin again
  EXPECT_EQ(place.resumed, 0);
  look(1100);
  look(2000);
  EXPECT_EQ(place.resumed, 1);
  look(999);
  EXPECT_EQ(place.paused.size(), 2u);
}

TEST(Retention, FindsTheFilesThatAJobNeeds) {
  Job job;
  job.input = {{"image_url", "/files/uploads/0a_x.png"},
               {"list", {"http://h:1/files/uploads/0b?y#z", "no file", 3, nullptr}},
               {"video_url", "http://h/files/outputs/v.mp4"}};
  job.fields = {{"audio_url", "/data/uploads/0c_s.wav"}};
  EXPECT_EQ(files_needed_by(job), (std::vector<std::string>{"0a_x.png", "0b", "0c_s.wav", "v.mp4"}));
}

}  // namespace
}  // namespace wan::serve
