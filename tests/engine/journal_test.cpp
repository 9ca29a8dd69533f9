#include "engine/job/journal.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "engine/base/error.h"
#include "tests/support.h"

namespace wan {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string content(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace

TEST(Journal, NotesOutliveTheProcess) {
  TemporaryFolder folder;
  const fs::path work = folder / "a" / "work";
  {
    Journal journal(work, 7);
    journal.note("x", {{"done", "a.mp4"}});
    journal.note("y", {{"width", 64}});
    journal.note("x", {{"done", "b.mp4"}});
  }
  EXPECT_EQ(Journal::draw_number(work), 7u);
  Journal journal(work, 7);
  EXPECT_EQ(journal.find("x")->at("done"), "b.mp4");
  EXPECT_EQ(journal.find("y")->at("width"), 64);
  EXPECT_EQ(journal.find("z"), nullptr);
}

TEST(Journal, ACrashAtAnyByteLosesAtMostTheLastNote) {
  TemporaryFolder folder;
  const fs::path path = folder / "journal.jsonl";
  {
    Journal journal(folder.path(), 7);
    journal.note("x", {{"done", "a.mp4"}});
    journal.note("y", {{"done", "b.mp4"}});
  }
  const std::string whole = content(path);
  const size_t first = whole.find('\n') + 1, second = whole.find('\n', first) + 1;
  for (size_t length = 0; length <= whole.size(); ++length) {
    for (const std::string& tail : {std::string(), std::string(3, '\0')}) {
      std::ofstream(path, std::ios::binary) << whole.substr(0, length) << tail;
      {
        Journal journal(folder.path(), 7);
        EXPECT_EQ(journal.find("x") != nullptr, length >= second) << length;
        EXPECT_EQ(journal.find("y") != nullptr, length >= whole.size()) << length;
        journal.note("z", {{"done", "c.mp4"}});
      }
      EXPECT_NE(Journal(folder.path(), 7).find("z"), nullptr) << length;
    }
  }
}

TEST(Journal, OneProcessAtATime) {
  TemporaryFolder folder;
  Journal journal(folder.path(), 1);
  EXPECT_THROW(Journal(folder.path(), 1), InvalidRequest);
}

TEST(Journal, OthersFoldersAreLeftAlone) {
  TemporaryFolder folder;
  const std::string name(32, 'a');
  for (const std::string& file : {name + ".sampling.safetensors.77.part", name + ".sampling.safetensors",
                                  std::string("download.part"), "a" + name + ".part"})
    std::ofstream(folder / file) << "x";
  Journal(folder.path(), 1);
  EXPECT_FALSE(fs::exists(folder / (name + ".sampling.safetensors.77.part")));
  EXPECT_TRUE(fs::exists(folder / (name + ".sampling.safetensors")));
  EXPECT_TRUE(fs::exists(folder / "download.part"));
  EXPECT_TRUE(fs::exists(folder / ("a" + name + ".part")));

  std::ofstream(folder / "journal.jsonl") << "{\"entries\": 3}\n";
  EXPECT_THROW(Journal::draw_number(folder.path()), InvalidRequest);
  EXPECT_EQ(content(folder / "journal.jsonl"), "{\"entries\": 3}\n");
}

TEST(Journal, AFullDiskLeavesWhatWasNoted) {
  TemporaryFolder folder;
  {
    Journal journal(folder.path(), 1);
    journal.note("x", {{"done", "a.mp4"}});
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    rlimit tight = {fs::file_size(folder / "journal.jsonl") + 10, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tight);
    EXPECT_THROW(journal.note("y", {{"done", "b.mp4"}}), std::runtime_error);
    setrlimit(RLIMIT_FSIZE, &before);
    journal.note("z", {{"done", "c.mp4"}});
  }
  Journal journal(folder.path(), 1);
  EXPECT_NE(journal.find("x"), nullptr);
  EXPECT_EQ(journal.find("y"), nullptr);
  EXPECT_NE(journal.find("z"), nullptr);
}

}  // namespace wan
