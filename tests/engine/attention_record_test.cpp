// Times of attention in a file that outlives the process.
#include "engine/sampling/attention_record.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/residency/contexts.h"
#include "kernels/attention/attention.h"
#include "tests/support.h"
#include "tests/support/other_user.h"

namespace wan {
namespace {

using kernels::AttentionTimes;

class AttentionFile : public testing::Test {
 protected:
  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(file_).rdbuf();
    return text.str();
  }
  void expect_empty_with(const std::string& content) {
    std::ofstream(file_) << content;
    EXPECT_TRUE(memory_.load("card", "case").empty()) << content;
    memory_.store("card", "case", times_);  // and it is whole again
    EXPECT_EQ(memory_.load("card", "case"), times_) << content;
  }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "cache/wan-infer/attention.json";
  kernels::AttentionMemory memory_ = attention_file(file_);
  AttentionTimes times_ = {{"cudnn", 1.5}, {"flash", std::nullopt}, {"mma", 2.25}};
};

TEST_F(AttentionFile, KeepsTimesAndFailures) {
  EXPECT_TRUE(memory_.load("card", "case").empty());
  memory_.store("card", "case", times_);
  memory_.store("card", "other case", {{"mma", 1}});
  memory_.store("other card", "case", {{"mma", 3}});
  const kernels::AttentionMemory next = attention_file(file_);
  EXPECT_EQ(next.load("card", "case"), times_);
  EXPECT_EQ(next.load("card", "other case"), (AttentionTimes{{"mma", 1.0}}));
  EXPECT_EQ(next.load("other card", "case"), (AttentionTimes{{"mma", 3.0}}));
  EXPECT_TRUE(next.load("third card", "case").empty());
}

TEST_F(AttentionFile, HoldsForThisVersionAlone) {
  memory_.store("card", "case", times_);
  nlohmann::json changed = nlohmann::json::parse(content());
  const std::string key = changed["cards"].items().begin().key();
  EXPECT_NE(key, "card");
  changed["cards"] = {{key + ".1", changed["cards"][key]}};
  std::ofstream(file_) << changed;
  EXPECT_TRUE(memory_.load("card", "case").empty());
}

TEST_F(AttentionFile, DamageCostsAMeasurementAndNothingElse) {
  memory_.store("card", "case", times_);
  const std::string whole = content();
  nlohmann::json json = nlohmann::json::parse(whole);
  const std::string key = json["cards"].items().begin().key();
  for (size_t length = 0; length + 2 < whole.size(); length += 9)
    EXPECT_NO_THROW(expect_empty_with(whole.substr(0, length)));
  for (const char* other : {"null", "[]", "7", R"({"schema": 2})", R"({"schema": 2, "cards": []})",
                            R"({"schema": 1, "card": {"case": {"mma": 1}}})", R"({"schema": "2", "cards": {}})"})
    expect_empty_with(other);
  for (const nlohmann::json& cases : {nlohmann::json("mma"),
                                      {{"case", 3}},
                                      {{"case", {{"mma", "fast"}}}},
                                      {{"case", {{"mma", -1}}}},
                                      {{"case", nlohmann::json::array({1})}}}) {
    json["cards"][key] = cases;
    expect_empty_with(json.dump());
  }
}

TEST_F(AttentionFile, IsWrittenWholeWhileOthersRead) {
  memory_.store("card", "case", times_);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    const kernels::AttentionMemory own = attention_file(file_);
    for (int i = 0; i < 100; ++i) own.store("card", "case " + std::to_string(i), times_);
    done = true;
  });
  while (!done) EXPECT_EQ(memory_.load("card", "case"), times_);
  writer.join();
  for (const auto& entry : std::filesystem::directory_iterator(file_.parent_path()))
    EXPECT_EQ(entry.path(), file_) << "nothing else is left";
}

TEST_F(AttentionFile, TwoProcessesKeepEachOthersCases) {
  constexpr int kCases = 40;
  const auto measure = [&](const std::string& who) {
    const kernels::AttentionMemory own = attention_file(file_);
    for (int i = 0; i < kCases; ++i) {
      own.store("card", who + std::to_string(i), times_);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // what is stored takes far longer to measure
    }
  };
  std::thread other([&] { measure("b"); });
  measure("a");
  other.join();
  for (const char* who : {"a", "b"})
    for (int i = 0; i < kCases; ++i) EXPECT_EQ(memory_.load("card", who + std::to_string(i)), times_) << who << i;
}

TEST_F(AttentionFile, AReadOnlyPlaceIsReadAndNoError) {
  memory_.store("card", "case", times_);
  std::filesystem::permissions(file_, std::filesystem::perms::owner_read);
  std::filesystem::permissions(file_.parent_path(),
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_NO_THROW(memory_.store("card", "other case", times_));
  EXPECT_EQ(memory_.load("card", "case"), times_);
  std::filesystem::permissions(file_.parent_path(), std::filesystem::perms::owner_all);
}

TEST_F(AttentionFile, AnUnwritablePlaceIsNoErrorAndNotWaitedFor) {
  std::ofstream(folder_ / "cache") << "a file where a folder is wanted";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_NO_THROW(memory_.store("card", "case", times_));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1)) << "no other process holds it";
  EXPECT_TRUE(memory_.load("card", "case").empty());
  EXPECT_FALSE(attention_file("").load);
}

TEST_F(AttentionFile, AUserWithoutRightsReadsWhatIsThere) {
  memory_.store("card", "case", times_);
  for (std::filesystem::path at = file_.parent_path(); at != folder_.path().parent_path(); at = at.parent_path())
    std::filesystem::permissions(at, std::filesystem::perms(0555));
  std::filesystem::permissions(file_, std::filesystem::perms(0444));
  const auto answer = as_other_user([&]() -> std::string {
    try {
      memory_.store("card", "other case", times_);
    } catch (const std::exception& error) {
      return error.what();
    }
    return memory_.load("card", "case") == times_ && memory_.load("card", "other case").empty() ? "read" : "changed";
  });
  for (std::filesystem::path at = file_.parent_path(); at != folder_.path().parent_path(); at = at.parent_path())
    std::filesystem::permissions(at, std::filesystem::perms::owner_all);
  if (!answer) GTEST_SKIP() << "root's rights cannot be given up here";
  EXPECT_EQ(*answer, "read");
}

TEST_F(AttentionFile, WhatIsNoFileIsNotRead) {
  memory_.store("card", "case", times_);
  const std::string whole = content();
  std::filesystem::remove(file_);
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  std::atomic<bool> done = false;
  std::thread writer([&] {  // so that a reader would neither wait nor find nothing
    while (!done) {
      const int end = open(file_.c_str(), O_WRONLY | O_NONBLOCK);  // fails while nobody reads
      if (end < 0) continue;
      EXPECT_EQ(write(end, whole.data(), whole.size()), ssize_t(whole.size()));
      close(end);
      return;
    }
  });
  EXPECT_TRUE(memory_.load("card", "case").empty());
  done = true;
  writer.join();
  std::filesystem::remove(file_);
  std::filesystem::create_directory(file_);
  EXPECT_TRUE(memory_.load("card", "case").empty());
}

TEST_F(AttentionFile, AChoiceSurvivesTheProcess) {
  const at::Tensor x = at::randn({1, 40, 2, 8});
  int timed = 0;
  const auto backend = [](const char* name) {
    return kernels::AttentionBackend{name, [](const kernels::AttentionCase&) { return true; },
                                     [](const auto& q, const auto& k, const auto& v, double scale, const auto& bias) {
                                       return kernels::reference::attention(q, k, v, scale, bias);
                                     }};
  };
  const auto process = [&](const std::string& card) {
    const auto timer = [&](const std::function<void()>& run) { return run(), double(10 - timed++); };
    auto selector =
        std::make_unique<kernels::AttentionSelector>(std::vector{backend("one"), backend("two")}, card, timer);
    selector->set_memory(attention_file(file_));
    const kernels::Context context({}, at::kCPU, std::move(selector));
    kernels::attention(x, x, x, 0.3, {}, context);
    return context.choices().begin()->second;
  };
  EXPECT_EQ(process("card"), "two");
  EXPECT_EQ(timed, 2);
  EXPECT_EQ(process("card"), "two");
  EXPECT_EQ(timed, 2);
  process("other card");
  EXPECT_EQ(timed, 4);
}

TEST(AttentionLog, HasALineForEachChoice) {
  std::vector<std::string> lines;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    lines.push_back(std::string(event) + " " + fields.dump());
  }};
  log_attention(kernels::default_context(), log);
  warn_of_kernels(kernels::default_context(), log);
  EXPECT_TRUE(lines.empty());
  const kernels::Context context(
      {}, at::kCPU,
      std::make_unique<kernels::AttentionSelector>(std::vector<kernels::AttentionBackend>(), "card",
                                                   [](const std::function<void()>&) { return 0.0; }));
  const at::Tensor x = at::randn({1, 40, 2, 8});
  kernels::attention(x, x, x, 0.3, {}, context);
  log_attention(context, log);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0], "attention {\"choice\":\"b1 h2 q64 k64 d8 Float: reference (no back end is left)\"}");
}

TEST(ContextsTest, OneForEachDeviceWithTheOptions) {
  Contexts contexts({.reference = true}), others;
  const auto cpu = contexts.on(at::kCPU);
  EXPECT_TRUE(cpu->options().reference);
  EXPECT_EQ(contexts.on(at::kCPU), cpu);
  EXPECT_NE(contexts.on(at::Device(at::kCUDA, 1)), cpu);  // the reference asks no driver
  EXPECT_EQ(contexts.on(at::Device(at::kCUDA, 1))->device(), at::Device(at::kCUDA, 1));
  EXPECT_NE(others.on(at::kCPU), cpu);
  EXPECT_FALSE(others.on(at::kCPU)->options().reference);
}

}  // namespace
}  // namespace wan
