// Uploads in parts, as their handlers take them: what they take of quotas and of the disk.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "engine/serve/api/stored_files.h"
#include "engine/serve/api/uploads.h"
#include "engine/serve/leftovers.h"
#include "engine/serve/queue/times.h"
#include "tests/serve/api_exchange.h"
#include "tests/serve/api_scene.h"
#include "tests/serve/disk_faults.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kDay = 24 * 3600'000;  // ms
constexpr Quota kThousand{.queued_jobs = 0, .upload_bytes = 1000, .video_seconds = 0};

class PartsOfUploads : public testing::Test, protected ApiScene {
 protected:
  PartsOfUploads() {
    upload.file = Files::new_name("a.bin");
    upload.owner = "anna";
    upload.type = "audio/mpeg";
    folder = run(uploads.begin(exchange, upload, kThousand));
  }
  /// The status of what is answered or thrown.
  int status_of(Awaitable<Answer> work) {
    try {
      got = run(std::move(work));
    } catch (const HttpError& error) {
      got = error.answer;
    }
    return got.status;
  }
  int take(int number, size_t bytes) {
    exchange.body.assign(bytes, 'x');
    const int status = status_of(uploads.take_part(exchange, upload, kThousand, folder, std::to_string(number)));
    if (status == 200) tags[number] = json::parse(got.body).at("etag").get<std::string>();
    return status;
  }
  /// The body of the request that joins what was taken.
  void list_all() {
    json list = json::array();
    for (const auto& [number, tag] : tags) list.push_back({{"partNumber", number}, {"etag", tag}});
    exchange.body = json{{"parts", list}}.dump();
  }
  int join() {
    list_all();
    return status_of(uploads.join(exchange, upload, folder));
  }
  fs::path place() const { return settings.data / "parts" / folder; }
  /// Parts that lie there for a month.
  void make_old() const {
    const time_t old = (now_ms() - 30 * kDay) / 1000;
    const timespec times[2] = {{old, 0}, {old, 0}};
    for (const fs::directory_entry& entry : fs::directory_iterator(place()))
      ASSERT_EQ(utimensat(AT_FDCWD, entry.path().c_str(), times, 0), 0);
    ASSERT_EQ(utimensat(AT_FDCWD, place().c_str(), times, 0), 0);
  }
  /// Whether so many bytes more of anna's are refused.
  bool refuses(uint64_t bytes) {
    const auto work = [&]() -> Awaitable<void> {
      const std::string anna = "anna";
      const RoomHold room = co_await take_quota(context, Access::Form::Fal, anna, kThousand, bytes);
    };
    return refused(work()) == 403;
  }

  Uploads uploads{context};
  ApiExchange exchange;
  UploadName upload;
  std::string folder;
  std::map<int, std::string> tags;
  Answer got;
};

TEST_F(PartsOfUploads, CountForTheQuotaUntilTheyAreJoined) {
  EXPECT_EQ(take(1, 600), 200);
  EXPECT_TRUE(refuses(500));
  EXPECT_FALSE(refuses(400));
  EXPECT_EQ(take(2, 500), 403) << got.body;
  EXPECT_EQ(take(2, 400), 200) << got.body;
  EXPECT_TRUE(refuses(1));
  EXPECT_EQ(count("parts/" + folder), 3u) << "two parts, and the note of whose they are";
  EXPECT_EQ(join(), 200) << got.body;
  EXPECT_EQ(count("parts"), 0u);
  EXPECT_EQ(file("uploads/" + upload.file), std::string(1000, 'x'));
  EXPECT_TRUE(refuses(1)) << "now as an upload";
  EXPECT_FALSE(refuses(0)) << "and once";
}

TEST_F(PartsOfUploads, ThatAreReplacedCountOnce) {
  EXPECT_EQ(take(1, 500), 200);
  EXPECT_EQ(take(1, 300), 200);
  EXPECT_TRUE(refuses(701));
  EXPECT_FALSE(refuses(700));
}

TEST_F(PartsOfUploads, AreNotJoinedWithoutRoomForTheWhole) {
  EXPECT_EQ(take(1, 600), 200);
  settings.least_free_bytes = uint64_t(1) << 60;
  EXPECT_EQ(join(), 503) << got.body;
  EXPECT_NE(std::find(got.headers.begin(), got.headers.end(), Header("Retry-After", "60")), got.headers.end());
  EXPECT_EQ(count("uploads"), 0u);
  settings.least_free_bytes = 0;
  EXPECT_EQ(join(), 200) << "they stayed: " << got.body;
  EXPECT_EQ(file("uploads/" + upload.file), std::string(600, 'x'));
}

TEST_F(PartsOfUploads, AreNotJoinedWhereTheWholeIsLargerThanWhatIsLeft) {
  EXPECT_EQ(take(1, 600), 200);
  settings.most_file_bytes = UINT64_MAX;
  for (const fs::directory_entry& entry : fs::directory_iterator(place())) {
    if (!entry.path().filename().string().starts_with("1.")) continue;
    std::error_code failed;
    fs::resize_file(entry.path(), fs::space(settings.data).available + (uint64_t(1) << 40), failed);
    if (failed) GTEST_SKIP() << "files of this disk cannot be so large";
  }
  const DiskFault full(disk_faults().of_copies, ENOSPC);  // nothing is copied, whatever is asked for
  EXPECT_EQ(join(), 503) << got.body;
  EXPECT_NE(std::find(got.headers.begin(), got.headers.end(), Header("Retry-After", "60")), got.headers.end());
  EXPECT_EQ(count("uploads"), 0u);
  EXPECT_EQ(count("parts/" + folder), 2u) << "they stayed";
}

TEST_F(PartsOfUploads, OfAFileThatBecomesTooLargeAreRefused) {
  settings.most_file_bytes = 900;
  EXPECT_EQ(take(1, 600), 200);
  EXPECT_EQ(take(2, 350), 413) << got.body;
  EXPECT_EQ(take(2, 300), 200) << got.body;
  // As where both came at the same time, and did not see each other.
  settings.most_file_bytes = 800;
  EXPECT_EQ(join(), 413) << got.body;
  EXPECT_EQ(count("parts") + count("uploads"), 0u);
  EXPECT_FALSE(refuses(1000)) << "they count no more";
}

TEST_F(PartsOfUploads, OfAnEarlierServerCountUntilTheyAreRemoved) {
  EXPECT_EQ(take(1, 600), 200);
  files.room().forget_parts(folder);  // a server that has just begun knows nothing of them
  EXPECT_FALSE(refuses(1000));
  retention.start();
  EXPECT_TRUE(run_until(io, [&] { return refuses(500); }));
  EXPECT_FALSE(refuses(400));
  retention.stop();
  make_old();
  on_io(io, remove_leftovers(*jobs, files, pool, scan_data(settings.data, 0, now_ms() - kDay), now_ms()));
  EXPECT_EQ(count("parts"), 0u);
  EXPECT_FALSE(refuses(1000));
}

// A pass that removes what was left lying must not take them on their way, or nothing is left where the store refuses.
TEST_F(PartsOfUploads, ThatAreBeingJoinedStayAndAreToBeAskedForLater) {
  EXPECT_EQ(take(1, 600), 200);
  make_old();
  // While another change is on its way to the disk, the store answers nobody.
  gate->set(true);
  bool written = false;
  std::vector<Change> other(1, PutUpload{"0b_other.png", "ben", "image/png", 1, 1});
  boost::asio::co_spawn(io, jobs->write(std::move(other)), [&](const std::exception_ptr&) { written = true; });
  run_for(io, std::chrono::milliseconds(1));
  gate->wait_until_one_waits();
  list_all();
  int joined = -1;
  boost::asio::co_spawn(io, uploads.join(exchange, upload, folder), [&](std::exception_ptr error, Answer) {
    try {
      joined = 200;
      if (error) std::rethrow_exception(error);
    } catch (const HttpError& refused) {
      joined = refused.answer.status;
    }
  });
  const fs::path closed = place().string() + "-whole";
  ASSERT_TRUE(run_until(io, [&] { return fs::exists(closed); }));
  const Scan scan = scan_data(settings.data, 0, now_ms() - kDay);
  ASSERT_EQ(scan.parts.size(), 1u) << "they look like what was left lying";
  on_io(io, remove_leftovers(*jobs, files, pool, scan, now_ms()));
  EXPECT_TRUE(fs::exists(closed));
  int asked = 0;
  try {
    run(uploads.in_parts(exchange, folder));
  } catch (const HttpError& refused) {
    asked = refused.answer.status;
  }
  EXPECT_EQ(asked, 503);
  gate->refuse(true);
  gate->set(false);
  ASSERT_TRUE(run_until(io, [&] { return joined >= 0 && written; }));
  EXPECT_EQ(joined, 503);
  gate->refuse(false);
  EXPECT_EQ(join(), 200) << got.body;
  EXPECT_EQ(file("uploads/" + upload.file), std::string(600, 'x'));
}

TEST_F(PartsOfUploads, AreThereAgainWhereTheStoreRefusesTheWhole) {
  EXPECT_EQ(take(1, 600), 200);
  gate->refuse(true);
  EXPECT_EQ(join(), 503) << got.body;
  gate->refuse(false);
  EXPECT_EQ(count("uploads"), 0u);
  EXPECT_TRUE(refuses(500)) << "they still count";
  EXPECT_EQ(take(2, 300), 200) << got.body;
  EXPECT_EQ(join(), 200) << got.body;
  EXPECT_EQ(file("uploads/" + upload.file), std::string(900, 'x'));
}

}  // namespace
}  // namespace wan::serve
