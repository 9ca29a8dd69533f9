// The bodies of all requests share one amount of memory.
#include "engine/serve/api/body_budget.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <new>

#include "tests/serve/serve_process.h"

namespace wan::serve {
namespace {

constexpr uint64_t kLarge = 1 << 20;

TEST(BodyBudget, IsSharedAndGivenBack) {
  BodyBudget budget(3 * kLarge);
  BodyBudget::Share small(budget);
  EXPECT_TRUE(small.grow(BodyBudget::kFree));
  EXPECT_EQ(budget.used(), 0u) << "short ones are not counted";
  auto one = std::make_unique<BodyBudget::Share>(budget);
  EXPECT_TRUE(one->grow(kLarge));
  EXPECT_TRUE(one->grow(2 * kLarge));
  EXPECT_TRUE(one->grow(kLarge)) << "it does not become smaller";
  EXPECT_EQ(budget.used(), 2 * kLarge);
  BodyBudget::Share other(budget);
  EXPECT_FALSE(other.grow(kLarge + 1));
  EXPECT_EQ(budget.used(), 2 * kLarge);
  EXPECT_TRUE(other.grow(kLarge));
  EXPECT_FALSE(other.grow(UINT64_MAX));
  EXPECT_TRUE(small.grow(1000));
  one.reset();
  EXPECT_EQ(budget.used(), kLarge);
  EXPECT_TRUE(other.grow(3 * kLarge));
}

TEST(BodyBudget, OneThatIsLargerGoesAlone) {
  BodyBudget budget(kLarge);
  auto large = std::make_unique<BodyBudget::Share>(budget);
  EXPECT_TRUE(large->grow(10 * kLarge));
  BodyBudget::Share other(budget);
  EXPECT_FALSE(other.grow(kLarge / 2));
  large.reset();
  EXPECT_TRUE(other.grow(kLarge / 2));
  BodyBudget::Share late(budget);
  EXPECT_FALSE(late.grow(10 * kLarge)) << "another has some";
}

// A request that waits when the server ends goes after it.
TEST(BodyBudget, AShareMayGoAfterIt) {
  alignas(BodyBudget) std::array<unsigned char, sizeof(BodyBudget)> place;
  auto* budget = new (place.data()) BodyBudget(kLarge);
  auto share = std::make_unique<BodyBudget::Share>(*budget);
  EXPECT_TRUE(share->grow(kLarge));
  budget->~BodyBudget();
  place.fill(0xaa);
  const auto filled = place;
  share.reset();
  EXPECT_EQ(place, filled) << "nothing is written where the budget was";
}

TEST(BodyBudget, IsRefusedInTheVendorsForm) {
  BodyBudget budget(kLarge);
  BodyBudget::Share one(budget), other(budget);
  one.take(kLarge, Access::Form::Fal);
  try {
    other.take(kLarge, Access::Form::WaveSpeed);
    ADD_FAILURE() << "was taken";
  } catch (const HttpError& error) {
    EXPECT_EQ(error.answer.status, 429);
    EXPECT_EQ(nlohmann::json::parse(error.answer.body).at("code"), 429);
  }
}

TEST(ServeProgram, LargeBodiesTogetherAreBounded) {
  const ServeFolder folder;
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  const std::string path = "/queue/fal-ai/wan/v2.2-a14b/text-to-video";
  const auto announce = [&](uint64_t bytes) {
    return server.sent("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " +
                       std::to_string(bytes) + "\r\n\r\n{");
  };
  const int first = announce(200 << 20);
  // Both have come to the server's thread before the next one, by another connection's answer.
  ASSERT_EQ(server.call("GET", "/health").status, 200);
  const int second = announce(100 << 20);
  const Reply refused = ServeProcess::answer_of(second);
  close(second);
  EXPECT_EQ(refused.status, 429) << refused.head;
  EXPECT_NE(refused.head.find("Retry-After: "), std::string::npos) << refused.head;
  EXPECT_EQ(server.call("POST", path, "", R"({"prompt": "a cat"})").status, 200) << "short ones pass";
  // A body of which no length is told counts as it comes.
  std::string pieces;
  for (int i = 0; i < 60; ++i) pieces += "100000\r\n" + std::string(1 << 20, ' ') + "\r\n";
  EXPECT_EQ(server.call("POST", path, "Transfer-Encoding: chunked\r\n", pieces + "0\r\n\r\n").status, 429);
  close(first);
  int status = 0;
  for (int i = 0; i < 100 && status != 422; ++i) {
    status = server.call("POST", path, "", "[" + std::string(100 << 10, ' ') + "]").status;
    if (status != 422) usleep(20'000);
  }
  EXPECT_EQ(status, 422) << "what the first one had is free again";
}

}  // namespace
}  // namespace wan::serve
