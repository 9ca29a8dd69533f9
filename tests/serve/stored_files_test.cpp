// Uploads come to their place once, within their owner's quota, and a full disk is told as one.
#include "engine/serve/api/stored_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>

#include "engine/serve/leftovers.h"
#include "engine/serve/queue/times.h"
#include "tests/serve/api_scene.h"
#include "tests/serve/disk_faults.h"

namespace wan::serve {
namespace {

using Form = Access::Form;

constexpr Quota kThousand{.queued_jobs = 0, .upload_bytes = 1000, .video_seconds = 0};

UploadName name_of_anna() {
  UploadName upload;
  upload.file = Files::new_name("a.png");
  upload.owner = "anna";
  upload.type = "image/png";
  return upload;
}

class StoredFiles : public testing::Test, protected ApiScene {
 protected:
  int put(const UploadName& upload, const std::string& bytes) {
    return refused(keep_bytes(context, Form::Fal, upload, bytes));
  }
  /// What `bytes` more are refused with; 0: they have room, which `hold` then keeps.
  int take(uint64_t bytes) {
    const auto work = [&]() -> Awaitable<void> {
      const RoomHold room = co_await take_room(context, Form::Fal, anna, kThousand, bytes);
      hold = room;
    };
    return refused(work());
  }
  const std::string anna = "anna", ben = "ben";
  RoomHold hold;
};

TEST_F(StoredFiles, StayAsTheyCame) {
  const UploadName upload = name_of_anna();
  EXPECT_EQ(put(upload, "one"), 0);
  EXPECT_EQ(put(upload, "two"), 403);
  EXPECT_EQ(put(upload, "longer"), 403);
  EXPECT_EQ(put(upload, "one"), 0) << "a client that asks again";
  EXPECT_EQ(file("uploads/" + upload.file), "one");
  EXPECT_EQ(count("parts"), 0u);
}

TEST_F(StoredFiles, VideosThatAreBeingWrittenHaveNoName) {
  const std::string video = std::string(32, 'a') + ".mp4";
  EXPECT_EQ(files.output_path(video).filename(), video);
  for (const char* end : {".part", ".unblurred.part", ".123.part"})
    EXPECT_THROW(files.output_path(video + end), std::invalid_argument) << end << ": it may yet be refused";
}

TEST_F(StoredFiles, AreNotRemovedWhereASecondOneFails) {
  const UploadName upload = name_of_anna();
  ASSERT_EQ(put(upload, "one"), 0);
  gate->refuse(true);
  EXPECT_NE(put(upload, "two"), 0);
  {
    const DiskFault full(disk_faults().of_syncs, ENOSPC);
    EXPECT_NE(put(upload, "two"), 0);
  }
  gate->refuse(false);
  EXPECT_EQ(file("uploads/" + upload.file), "one");
  EXPECT_TRUE(run(known_upload(context, upload.file)).has_value());
  EXPECT_EQ(count("parts"), 0u);
}

TEST_F(StoredFiles, LeaveNothingWhereTheStoreRefuses) {
  const UploadName upload = name_of_anna();
  gate->refuse(true);
  EXPECT_EQ(put(upload, "one"), 503);
  gate->refuse(false);
  EXPECT_EQ(count("uploads"), 0u);
  EXPECT_EQ(count("parts"), 0u);
  EXPECT_EQ(put(upload, "two"), 0);
  EXPECT_EQ(file("uploads/" + upload.file), "two");
}

TEST_F(StoredFiles, OfOneNameComeOneAtATime) {
  const UploadName upload = name_of_anna();
  const std::string one = "one";
  gate->set(true);
  int first = -1;
  boost::asio::co_spawn(io, keep_bytes(context, Form::Fal, upload, one),
                        [&](const std::exception_ptr& error) { first = error ? 1 : 0; });
  ASSERT_TRUE(run_until(io, [&] { return !file("uploads/" + upload.file).empty(); }));
  EXPECT_EQ(put(upload, "two"), 503);
  gate->set(false);
  ASSERT_TRUE(run_until(io, [&] { return first >= 0; }));
  EXPECT_EQ(first, 0);
  EXPECT_EQ(file("uploads/" + upload.file), "one");
}

TEST_F(StoredFiles, OnAFullDiskAreToBeSentLater) {
  const DiskFault full(disk_faults().of_syncs, ENOSPC);
  EXPECT_EQ(put(name_of_anna(), "one"), 503);
  EXPECT_EQ(answer.headers.at(0).first, "Retry-After");
  EXPECT_EQ(count("uploads") + count("parts"), 0u);
}

TEST_F(StoredFiles, HaveTheRoomOfTheirQuotaTogether) {
  EXPECT_EQ(take(600), 0);
  const RoomHold first = hold;
  EXPECT_EQ(take(600), 403) << "while the first is on its way";
  EXPECT_EQ(take(400), 0);
  hold.reset();
  files.room().set_parts("p", "anna", 300);
  EXPECT_EQ(take(200), 403);
  EXPECT_EQ(take(100), 0);
  EXPECT_EQ(run(room_left(context, anna, kThousand, 5000)), 0u);
  files.room().set_parts("p", "anna", 200);
  files.room().forget_parts("p");
  files.room().forget_parts("p");
  hold.reset();
  EXPECT_EQ(run(room_left(context, anna, kThousand, 5000)), 400u);
  EXPECT_EQ(run(room_left(context, ben, kThousand, 5000)), 1000u);
}

TEST_F(StoredFiles, ThatAskAtOnceSeeEachOther) {
  int taken = 0, others = 0;
  std::vector<RoomHold> rooms;
  for (int i = 0; i < 4; ++i)
    boost::asio::co_spawn(io, take_room(context, Form::Fal, anna, kThousand, 400),
                          [&](const std::exception_ptr& error, const RoomHold& room) {
                            ++(error ? others : taken);
                            rooms.push_back(room);
                          });
  ASSERT_TRUE(run_until(io, [&] { return taken + others == 4; }));
  EXPECT_EQ(taken, 2);
}

TEST_F(StoredFiles, CopiesOfVideosCountForTheQuota) {
  const auto video = write("outputs/" + std::string(32, 'a') + "_video.mp4", std::string(700, 'x'));
  EXPECT_EQ(refused(keep_copy(context, Form::Fal, kThousand, name_of_anna(), video)), 0);
  EXPECT_EQ(refused(keep_copy(context, Form::Fal, kThousand, name_of_anna(), video)), 403);
  EXPECT_EQ(count("uploads"), 1u);
  EXPECT_EQ(count("parts"), 0u);
}

// A link to an old video is as old as that: a pass that removes what was left lying must not take it on its way.
TEST_F(StoredFiles, ACopyOfAnOldVideoIsNoLeftover) {
  const auto video = write("outputs/" + std::string(32, 'a') + "_video.mp4", "a video");
  constexpr int64_t kDay = 24 * 3600'000;
  const time_t old = (now_ms() - 30 * kDay) / 1000;
  const timespec times[2] = {{old, 0}, {old, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, video.c_str(), times, 0), 0);
  // While another change is on its way to the disk, the store answers nobody.
  gate->set(true);
  bool written = false;
  std::vector<Change> other(1, PutUpload{"0b_other.png", "ben", "image/png", 1, 1});
  boost::asio::co_spawn(io, jobs->write(std::move(other)), [&](const std::exception_ptr&) { written = true; });
  run_for(io, std::chrono::milliseconds(1));
  gate->wait_until_one_waits();
  int kept = -1;
  const UploadName upload = name_of_anna();
  boost::asio::co_spawn(io, keep_copy(context, Form::Fal, Quota{}, upload, video),
                        [&](const std::exception_ptr& error) { kept = error ? 1 : 0; });
  ASSERT_TRUE(run_until(io, [&] { return count("parts") == 1; }));
  const Scan scan = scan_data(settings.data, 0, now_ms() - kDay);
  ASSERT_EQ(scan.parts.size(), 1u) << "it looks like what was left lying";
  on_io(io, remove_leftovers(*jobs, files, pool, scan, now_ms()));
  EXPECT_EQ(count("parts"), 1u);
  gate->set(false);
  ASSERT_TRUE(run_until(io, [&] { return kept >= 0 && written; }));
  EXPECT_EQ(kept, 0);
  EXPECT_EQ(file("uploads/" + upload.file), "a video");
}

TEST_F(StoredFiles, HaveNoRoomWhereTheyAreLargerThanWhatIsLeft) {
  const Quota unlimited;
  const auto ask = [&](uint64_t bytes) {
    const auto work = [&]() -> Awaitable<void> {
      const RoomHold room = co_await take_room(context, Form::Fal, anna, unlimited, bytes);
    };
    return refused(work());
  };
  EXPECT_EQ(ask(uint64_t(1) << 60), 503);
  EXPECT_EQ(ask(1), 0);
}

TEST_F(StoredFiles, HaveNoRoomWhereTheDiskHasNone) {
  settings.least_free_bytes = uint64_t(1) << 60;
  EXPECT_EQ(take(0), 503);
  EXPECT_EQ(run(room_left(context, anna, kThousand, 5000)), 0u);
}

}  // namespace
}  // namespace wan::serve
