#include "engine/job/work_folder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <map>
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

TEST(WorkFolder, NotesOutliveTheProcess) {
  TemporaryFolder folder;
  const fs::path work = folder / "a" / "work";
  {
    WorkFolder journal(work, 7);
    journal.note("x", {{"done", "a.mp4"}});
    journal.note("y", {{"width", 64}});
    journal.note("x", {{"done", "b.mp4"}});
  }
  EXPECT_EQ(WorkFolder::draw_number(work), 7u);
  WorkFolder journal(work, 7);
  EXPECT_EQ(journal.find("x")->at("done"), "b.mp4");
  EXPECT_EQ(journal.find("y")->at("width"), 64);
  EXPECT_EQ(journal.find("z"), nullptr);
}

TEST(WorkFolder, ACrashAtAnyByteLosesAtMostTheLastNote) {
  TemporaryFolder folder;
  const fs::path path = folder / "journal.jsonl";
  {
    WorkFolder journal(folder.path(), 7);
    journal.note("x", {{"done", "a.mp4"}});
    journal.note("y", {{"done", "b.mp4"}});
  }
  const std::string whole = content(path);
  const size_t first = whole.find('\n') + 1, second = whole.find('\n', first) + 1;
  for (size_t length = 0; length <= whole.size(); ++length) {
    for (const std::string& tail : {std::string(), std::string(3, '\0')}) {
      std::ofstream(path, std::ios::binary) << whole.substr(0, length) << tail;
      {
        WorkFolder journal(folder.path(), 7);
        EXPECT_EQ(journal.find("x") != nullptr, length >= second) << length;
        EXPECT_EQ(journal.find("y") != nullptr, length >= whole.size()) << length;
        journal.note("z", {{"done", "c.mp4"}});
      }
      EXPECT_NE(WorkFolder(folder.path(), 7).find("z"), nullptr) << length;
    }
  }
}

TEST(WorkFolder, OneProcessAtATime) {
  TemporaryFolder folder;
  WorkFolder journal(folder.path(), 1);
  EXPECT_THROW(WorkFolder(folder.path(), 1), InvalidRequest);
}

TEST(WorkFolder, OthersFoldersAreLeftAlone) {
  TemporaryFolder folder;
  const std::string name(32, 'a');
  for (const std::string& file : {name + ".sampling.safetensors.77.part", name + ".sampling.safetensors",
                                  std::string("download.part"), "a" + name + ".part"})
    std::ofstream(folder / file) << "x";
  WorkFolder(folder.path(), 1);
  EXPECT_FALSE(fs::exists(folder / (name + ".sampling.safetensors.77.part")));
  EXPECT_TRUE(fs::exists(folder / (name + ".sampling.safetensors")));
  EXPECT_TRUE(fs::exists(folder / "download.part"));
  EXPECT_TRUE(fs::exists(folder / ("a" + name + ".part")));

  std::ofstream(folder / "journal.jsonl") << "{\"entries\": 3}\n";
  EXPECT_THROW(WorkFolder(folder.path(), WorkFolder::draw_number(folder.path())), InvalidRequest);
  EXPECT_EQ(content(folder / "journal.jsonl"), "{\"entries\": 3}\n");
}

TEST(WorkFolder, ABrokenJournalIsNamedAndBegunAnewByWord) {
  const auto error_of = [](const fs::path& path, const std::string& field, WorkFolder::Broken broken) {
    try {
      WorkFolder(path, 7, field, broken);
      return std::string();
    } catch (const InvalidRequest& invalid) {
      return std::string(invalid.what());
    }
  };
  using enum WorkFolder::Broken;
  const std::map<std::string, std::string> kinds = {
      {std::string("\x81\x9c\0\0garbage\n{}\n", 14), "journal.jsonl is damaged"},
      {"garbage without an end", "journal.jsonl is damaged"},
      {"{\"job\": \"x\"}\n", "journal.jsonl is damaged"},
      {"{\"draw\": 7, \"wan_infer_journal\": 2}\n", "journal.jsonl is another version's"}};
  for (const auto& [text, wrong] : kinds) {
    TemporaryFolder folder;
    const fs::path path = folder / "journal.jsonl", left = folder / (std::string(32, 'a') + ".sampling.safetensors");
    std::ofstream(path, std::ios::binary) << text;
    std::ofstream(left) << "x";
    const std::string single = error_of(folder.path(), "out", Refuse), batch = error_of(folder.path(), "work", Refuse);
    EXPECT_NE(single.find(wrong), std::string::npos) << single;
    EXPECT_NE(single.find("--fresh starts anew"), std::string::npos) << single;
    EXPECT_NE(batch.find("--work names another folder"), std::string::npos) << batch;
    EXPECT_EQ(batch.find("--fresh"), std::string::npos) << "a batch has no such flag";
    EXPECT_EQ(content(path), text);
    EXPECT_EQ(error_of(folder.path(), "out", BeginAnew), "");
    EXPECT_EQ(WorkFolder::draw_number(folder.path()), 7u);
  }
  TemporaryFolder folder;
  std::ofstream(folder / "journal.jsonl") << "{\"entries\": 3}\n";
  EXPECT_NE(error_of(folder.path(), "out", BeginAnew).find("another program's"), std::string::npos);
  EXPECT_EQ(content(folder / "journal.jsonl"), "{\"entries\": 3}\n");
}

TEST(WorkFolder, ADamagedLineIsToldApartFromOneThatWasCutOff) {
  TemporaryFolder folder;
  {
    WorkFolder journal(folder.path(), 7);
    for (const char* key : {"x", "y", "z"}) journal.note(key, {{"seed", 1}});
  }
  const std::string whole = content(folder / "journal.jsonl");
  std::ofstream(folder / "journal.jsonl", std::ios::binary) << whole.substr(0, whole.size() - 5);
  EXPECT_FALSE(WorkFolder(folder.path(), 7).damaged_line());
  std::string damaged = whole;
  damaged[damaged.find("\"y\"") - 2] = '\x01';
  std::ofstream(folder / "journal.jsonl", std::ios::binary) << damaged;
  WorkFolder journal(folder.path(), 7);
  EXPECT_EQ(journal.damaged_line(), 3);
  EXPECT_NE(journal.find("x"), nullptr);
  EXPECT_EQ(journal.find("z"), nullptr);
}

TEST(WorkFolder, AFolderThatRefusesIsNamed) {
  try {
    WorkFolder("/proc/x.mp4.work", 1, "out");
    ADD_FAILURE() << "made in /proc";
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.at(0).field, "out");
    EXPECT_NE(invalid.errors.at(0).wrong.find("'proc' refuses 'x.mp4.work'"), std::string::npos) << invalid.what();
  }
}

TEST(WorkFolder, AFullDiskLeavesWhatWasNoted) {
  TemporaryFolder folder;
  {
    WorkFolder journal(folder.path(), 1);
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
  WorkFolder journal(folder.path(), 1);
  EXPECT_NE(journal.find("x"), nullptr);
  EXPECT_EQ(journal.find("y"), nullptr);
  EXPECT_NE(journal.find("z"), nullptr);
}

TEST(WorkFolder, AFileOfItsNameIsNamed) {
  TemporaryFolder folder;
  std::ofstream(folder / "a.work") << "x";
  try {
    const WorkFolder work(folder / "a.work", 1, "out");
    ADD_FAILURE();
  } catch (const InvalidRequest& invalid) {
    EXPECT_NE(std::string(invalid.what()).find("is a file; remove it"), std::string::npos) << invalid.what();
  }
}

TEST(WorkFolder, ANewOneIsForItsUserAlone) {
  TemporaryFolder folder;
  WorkFolder(folder / "made", 1);
  EXPECT_EQ(fs::status(folder / "made").permissions() & fs::perms::mask, fs::perms(0700));
  EXPECT_EQ(fs::status(folder / "made" / "journal.jsonl").permissions() & fs::perms::mask, fs::perms(0600));
}

TEST(WorkFolder, AnotherProcessMayPeek) {
  TemporaryFolder folder;
  WorkFolder journal(folder.path(), 1);
  journal.note("x", {{"seed", 4}});
  journal.note("x", {{"seed", 5}});
  EXPECT_EQ(WorkFolder::peek(folder.path(), "x")->at("seed"), 5);
  EXPECT_FALSE(WorkFolder::peek(folder.path(), "y"));
  EXPECT_FALSE(WorkFolder::peek(folder / "absent", "x"));
  std::ofstream(folder / "journal.jsonl") << "{\"job\": \"x\", \"seed\": 6}\n";
  EXPECT_FALSE(WorkFolder::peek(folder.path(), "x")) << "no journal of ours";
}

TEST(WorkFolder, StepsAreLatentsStatesAndClips) {
  TemporaryFolder folder;
  const std::string name(32, 'a');
  WorkFolder work(folder.path(), 1);
  std::ofstream(work.file(name, "encoded.safetensors")) << "x";
  fs::create_directory(work.file(name, "clips"));
  EXPECT_FALSE(work.holds_steps());
  std::ofstream(work.file(name, "clips") / "clip-00000.mp4") << "x";
  EXPECT_TRUE(work.holds_steps());
  work.restart();
  EXPECT_FALSE(work.holds_steps());
  std::ofstream(work.file(name, "sampling.safetensors")) << "x";
  EXPECT_TRUE(work.holds_steps());
}

TEST(WorkFolder, DiscardLeavesWhatIsNotOurs) {
  TemporaryFolder folder;
  const std::string name(32, 'a');
  for (const char* other : {"", "mine.txt"}) {
    const fs::path path = folder / (std::string("work") + other);
    WorkFolder work(path, 1);
    work.note("x", {{"done", "a.mp4"}});
    std::ofstream(work.file(name, "latents.safetensors")) << "x";
    if (*other) std::ofstream(path / other) << "x";
    work.restart();
    EXPECT_EQ(work.find("x"), nullptr);
    work.note("y", {{"done", "b.mp4"}});
    EXPECT_FALSE(WorkFolder::peek(path, "x"));
    EXPECT_TRUE(WorkFolder::peek(path, "y"));
    work.discard();
    EXPECT_EQ(fs::exists(path), *other != 0);
  }
}

}  // namespace wan
