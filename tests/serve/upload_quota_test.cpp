// Uploads in parts, as their handlers take them: what they take of quotas and of the disk.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "engine/serve/api/stored_files.h"
#include "engine/serve/api/uploads.h"
#include "tests/serve/api_exchange.h"
#include "tests/serve/api_scene.h"

namespace wan::serve {
namespace {

using nlohmann::json;

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
  int join() {
    json list = json::array();
    for (const auto& [number, tag] : tags) list.push_back({{"partNumber", number}, {"etag", tag}});
    exchange.body = json{{"parts", list}}.dump();
    return status_of(uploads.join(exchange, upload, folder));
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
