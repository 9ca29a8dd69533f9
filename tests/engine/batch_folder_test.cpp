// The work folders of a batch and of its shards: what keeps them apart, and what they know of each other.
#include "engine/job/batch_folder.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <set>

#include "engine/base/error.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kName(32, 'a'), kEncoding(32, 'b');

/// What is wrong with a folder for this shard; empty where it is taken.
std::string refusal(const fs::path& work, const Shard& shard) {
  try {
    BatchFolder place(work, batch_draw(work), shard);
    return "";
  } catch (const InvalidRequest& invalid) {
    return invalid.what();
  }
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

TEST(BatchFolder, ShardsWorkBesideEachOtherAndDrawTheSame) {
  TemporaryFolder folder;
  const fs::path work = folder / "new" / "list.jsonl.work";
  BatchFolder first(work, 7, {0, 3}), second(work, 8, {1, 3}), third(work, 9, {2, 3});
  EXPECT_EQ(first.draw(), 7u);
  EXPECT_EQ(second.draw(), 7u) << "the first decides";
  EXPECT_EQ(third.draw(), 7u);
  EXPECT_EQ(batch_draw(work), 7u);
  EXPECT_TRUE(fs::exists(work / "shard-2-of-3" / "journal.jsonl"));
  EXPECT_EQ(fs::status(work).permissions() & fs::perms::mask, fs::perms(0700)) << "it holds prompts and pictures";
  const std::vector<ShardFolder> found = shard_folders(work);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[1].shard.text(), "1/3");
}

TEST(BatchFolder, OthersThatWouldRenderTheSameAreRefused) {
  TemporaryFolder folder;
  const fs::path work = folder / "work";
  {
    const BatchFolder shard(work, 7, {1, 4});
    EXPECT_TRUE(holds(refusal(work, {1, 4}), "[work] must be free, and another run works in 'shard-1-of-4'"))
        << refusal(work, {1, 4});
    EXPECT_TRUE(holds(refusal(work, {}), "[work] must be free, and another run works in 'work'")) << refusal(work, {});
    const std::string other = refusal(work, {0, 2});
    EXPECT_TRUE(holds(other, "[shard] must be one of 4 as long as 1/4 works in 'work', got '0/2'; wait for those"))
        << other;
    EXPECT_EQ(refusal(work, {3, 4}), "");
  }
  EXPECT_EQ(refusal(work, {0, 2}), "");
  const BatchFolder whole(work, batch_draw(work), {});
  EXPECT_TRUE(holds(refusal(work, {0, 2}), "[work] must be free, and a run without --shard works in 'work'"))
      << refusal(work, {0, 2});
}

TEST(BatchFolder, TheNumberOutlivesTheBatchesOwnJournal) {
  TemporaryFolder folder;
  { const BatchFolder shard(folder.path(), 7, {1, 4}); }
  fs::remove(folder / "journal.jsonl");
  EXPECT_EQ(batch_draw(folder.path()), 7u);
  EXPECT_EQ(refusal(folder.path(), {0, 4}), "");
  for (const char* text : {"{\"entries\": 3}\n", "{\"dr", "garbage\n"}) {
    write(folder / "journal.jsonl", text);
    EXPECT_TRUE(holds(refusal(folder.path(), {0, 4}), "move that file away, or --work names another folder")) << text;
    EXPECT_EQ(text_of(folder / "journal.jsonl"), text);
  }
}

TEST(BatchFolder, OtherNamesAreNoShards) {
  TemporaryFolder folder;
  for (const char* name :
       {"shard-0-of-2", "shard-2-of-2", "shard-00-of-2", "shard--of-", "shard-0-of-2.old", "shard-x-of-2"})
    fs::create_directory(folder / name);
  ASSERT_EQ(shard_folders(folder.path()).size(), 1u);
  EXPECT_TRUE(shard_folders(folder / "absent").empty());
}

TEST(BatchFolder, WhatIsFinishedElsewhereIsFinished) {
  TemporaryFolder folder;
  const fs::path work = folder / "work";
  {
    BatchFolder shard(work, 7, {3, 4});
    shard.folder().note("done here", {{"done", "../../a.mp4"}, {"files", json::array()}});
    shard.folder().note("first done here", {{"first", "../../a.first.mp4"}, {"waits", true}});
  }
  EXPECT_EQ(WorkFolder::finished_in(work / "shard-3-of-4"), std::set<std::string>{(folder / "a.mp4").string()});
  EXPECT_TRUE(WorkFolder::finished_in(work).empty());
  BatchFolder whole(work, batch_draw(work), {});
  EXPECT_EQ(whole.folder().find("done here"), nullptr) << "until somebody asks for it";
  EXPECT_TRUE(whole.folder().any_note([](const json& note) { return note.value("done", "") == "../a.mp4"; }));
  ASSERT_NE(whole.folder().recall("done here"), nullptr);
  EXPECT_EQ(whole.folder().find("done here")->at("done"), "../a.mp4") << "as it is seen from here";
  EXPECT_EQ(whole.folder().recall("first done here")->at("first"), "../a.first.mp4");
  EXPECT_EQ(whole.folder().recall("of nobody"), nullptr);
}

TEST(BatchFolder, WhatIsHalfDoneElsewhereGoesOn) {
  TemporaryFolder folder;
  const fs::path work = folder / "work";
  const std::string state = kName + ".sampling.safetensors", clips = kName + ".clips",
                    encoding = kEncoding + ".encoded.safetensors";
  const auto name = [&](const Shard& shard, const std::string& file) { return work / shard_folder_name(shard) / file; };
  {
    BatchFolder shard(work, 7, {0, 2});
    shard.folder().note("job", {{"files", {state, clips, encoding, "../../escapes.mp4"}}});
    shard.folder().note(kName, {{"width", 64}});
    shard.folder().note(kEncoding, {{"attention", "x"}});
    write(name({0, 2}, state), "three steps");
    write(name({0, 2}, encoding), "a prompt");
    fs::create_directory(name({0, 2}, clips));
    write(name({0, 2}, clips) / "clip-00000.mp4", "a clip");
  }
  BatchFolder next(work, 7, {1, 3});
  ASSERT_NE(next.folder().recall("job"), nullptr);
  EXPECT_EQ(text_of(name({1, 3}, state)), "three steps");
  EXPECT_EQ(text_of(name({1, 3}, encoding)), "a prompt");
  EXPECT_EQ(text_of(name({1, 3}, clips) / "clip-00000.mp4"), "a clip");
  EXPECT_EQ(next.folder().find(kName)->at("width"), 64);
  EXPECT_EQ(next.folder().find(kEncoding)->at("attention"), "x");
  EXPECT_EQ(text_of(name({0, 2}, state)), "three steps") << "the other folder is left as it was";
  // A file that is replaced here is none of the other folder's.
  next.folder().remove(state);
  write(name({1, 3}, state), "four steps");
  EXPECT_EQ(text_of(name({0, 2}, state)), "three steps");
}

TEST(BatchFolder, TheStateThatIsFurtherCounts) {
  TemporaryFolder folder;
  const fs::path work = folder / "work", here = work / "shard-0-of-2", there = work / "shard-0-of-3";
  const std::string state = kName + ".sampling.safetensors", latents = kName + ".latents.safetensors";
  for (const Shard& shard : {Shard{0, 2}, Shard{0, 3}}) {
    BatchFolder place(work, 7, shard);
    place.folder().note("job", {{"files", {state, latents}}});
  }
  const auto now = fs::file_time_type::clock::now();
  const auto put = [&](const fs::path& path, const std::string& text, int minutes_ago) {
    fs::remove(path);  // as the program does, which replaces files: this one may have another name
    write(path, text);
    fs::last_write_time(path, now - std::chrono::minutes(minutes_ago));
  };
  put(here / state, "older", 9);
  put(there / state, "newer", 5);
  put(here / latents, "of here", 9);
  put(there / latents, "of there", 5);
  BatchFolder(work, 7, {0, 2}).folder().recall("job");
  EXPECT_EQ(text_of(here / state), "newer");
  EXPECT_EQ(text_of(here / latents), "of here") << "whole as it is";
  put(here / state, "newest", 1);
  BatchFolder(work, 7, {0, 2}).folder().recall("job");
  EXPECT_EQ(text_of(here / state), "newest");
  BatchFolder(work, 7, {0, 3}).folder().recall("job");
  EXPECT_EQ(text_of(there / state), "newest");
}

}  // namespace
}  // namespace wan
