// The file of keys: made, changed, and refused where it is wrong.
#include "engine/serve/api/keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "engine/base/error.h"
#include "models/files/digest.h"
#include "models/files/scratch_folder.h"
#include "tests/support/other_user.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

const std::string kHash(64, 'a'), kOther(64, 'b');

void write(const fs::path& file, const std::string& text) {
  std::ofstream(file) << text;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// What the call is refused with, "[keys] ..."; empty where it is not.
template <typename Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const InvalidRequest& invalid) {
    return invalid.errors.at(0).line();
  }
  return {};
}

TEST(Keys, AreAddedOnceAndNeverStored) {
  const ScratchFolder folder;
  const fs::path file = folder.path / "keys.json";
  const std::string anna = add_key(file, "anna", true, {});
  const std::string ben = add_key(file, "ben", false, {.queued_jobs = 3, .upload_bytes = 5000, .video_seconds = 12.5});
  EXPECT_NE(anna, ben);
  EXPECT_EQ(anna.size(), 4 + 64u);
  EXPECT_EQ(text_of(file).find(anna), std::string::npos);

  const std::vector<Key> keys = read_keys(file);
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].name, "anna");
  EXPECT_TRUE(keys[0].admin);
  EXPECT_EQ(keys[0].hash, sha256({anna}));
  EXPECT_EQ(keys[0].quota.queued_jobs, 0);
  EXPECT_FALSE(keys[1].admin);
  EXPECT_EQ(keys[1].quota.queued_jobs, 3);
  EXPECT_EQ(keys[1].quota.upload_bytes, 5000u);
  EXPECT_EQ(keys[1].quota.video_seconds, 12.5);

  EXPECT_NE(refusal([&] { add_key(file, "anna", false, {}); }).find("no key has yet"), std::string::npos);
  EXPECT_EQ(read_keys(file).size(), 2u);
}

TEST(Keys, TheFileIsItsUsersAndKeepsItsMode) {
  const ScratchFolder folder;
  const fs::path file = folder.path / "keys.json";
  add_key(file, "anna", false, {});
  struct stat status = {};
  ASSERT_EQ(stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(chmod(file.c_str(), 0640), 0);
  add_key(file, "ben", false, {});
  ASSERT_EQ(stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);

  // A link stays one.
  const fs::path link = folder.path / "link.json";
  fs::create_symlink(file, link);
  add_key(link, "carl", false, {});
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(read_keys(file).size(), 3u);

  ASSERT_EQ(chmod(file.c_str(), 0602), 0);
  EXPECT_NE(refusal([&] { read_keys(file); }).find("others cannot write"), std::string::npos);
}

// As the service's user sees the file that root's `key add` made.
TEST(Keys, OfAnotherUserSayHowTheyAreGivenAway) {
  const ScratchFolder folder;
  const fs::path file = folder.path / "keys.json";
  add_key(file, "anna", false, {});
  ASSERT_EQ(chmod(folder.path.c_str(), 0755), 0);
  ASSERT_EQ(chmod(file.c_str(), geteuid() == 0 ? 0600 : 0), 0);
  const std::optional<std::string> told = as_other_user([&] { return refusal([&] { read_keys(file); }); });
  if (!told) GTEST_SKIP() << "no other user can be tried here";
  EXPECT_NE(told->find("chown it to the user who runs the server"), std::string::npos) << *told;
}

TEST(Keys, AreRemoved) {
  const ScratchFolder folder;
  const fs::path file = folder.path / "keys.json";
  add_key(file, "anna", false, {});
  EXPECT_NE(refusal([&] { remove_key(file, "ben"); }).find("it has anna"), std::string::npos)
      << refusal([&] { remove_key(file, "ben"); });
  remove_key(file, "anna");
  EXPECT_TRUE(list_keys(file).empty());
  // A server with such a file would let everybody in.
  EXPECT_NE(refusal([&] { read_keys(file); }).find("at least one key"), std::string::npos);
  add_key(file, "ben", false, {});
  EXPECT_EQ(read_keys(file).size(), 1u);
}

TEST(Keys, AddedAndRemovedAtOnceAreAllThere) {
  const ScratchFolder folder;
  const fs::path file = folder.path / "keys.json";
  constexpr int kAtOnce = 8, kEach = 5;
  {
    std::vector<std::jthread> all;
    for (int i = 0; i < kAtOnce; ++i)
      all.emplace_back([&, i] {
        for (int j = 0; j < kEach; ++j) add_key(file, "key-" + std::to_string(i) + "-" + std::to_string(j), false, {});
        remove_key(file, "key-" + std::to_string(i) + "-0");
      });
  }
  EXPECT_EQ(list_keys(file).size(), size_t(kAtOnce * (kEach - 1)));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()), 1) << "nothing else is left";
}

TEST(Keys, WrongFilesAreRefusedWithTheirFault) {
  const ScratchFolder folder;
  const fs::path file = folder.path / "keys.json";
  EXPECT_NE(refusal([&] { read_keys(file); }).find("[keys] must be a file that can be read"), std::string::npos);
  EXPECT_NE(refusal([&] { read_keys(folder.path); }).find("which is none"), std::string::npos);
  const auto entry = [&](const std::string& more) {
    return R"({"keys": [{"name": "anna", "sha256": ")" + kHash + "\"" + more + "}]}";
  };
  const std::pair<std::string, std::string> cases[] = {
      {"", "got 'keys.json', which is empty; wan-serve key add NAME"},
      {" \n", "got 'keys.json', which is empty"},
      {"{\"keys\": [", "JSON"},
      {"[]", "must be a JSON object"},
      {"{\"keys\": {}}", "must be a JSON object"},
      {R"({"keys": [], "other": 1})", "must be a JSON object"},
      {R"({"keys": [1]})", "must be a file of keys, got 'keys.json': key 1 must be an object"},
      {R"({"keys": [{"name": "anna"}]})", "must have name and sha256"},
      {R"({"keys": [{"name": "an na", "sha256": ")" + kHash + "\"}]}", "the name of key 1"},
      {R"({"keys": [{"name": "anna", "sha256": "secret"}]})", "64 lower-case hexadecimal digits"},
      {entry(R"(, "role": "root")"), "\"admin\""},
      {entry(R"(, "quota": 3)"), "must be an object"},
      {entry(R"(, "quota": {"queued_jobs": 1.5})"), "whole number"},
      {entry(R"(, "quota": {"queued_jobs": -1})"), "number from 0"},
      {entry(R"(, "quota": {"upload_bytes": "1G"})"), "number from 0"},
      {entry(R"(, "quota": {"video_seconds": 1e300})"), "number from 0"},
      {entry(R"(, "quota": {"jobs": 1})"), "it takes queued_jobs"},
      {entry(R"(, "admin": true)"), "it takes name"},
      {R"({"keys": [{"name": "anna", "sha256": ")" + kHash + R"("}, {"name": "anna", "sha256": ")" + kOther + "\"}]}",
       "two keys have the name"},
      {R"({"keys": [{"name": "anna", "sha256": ")" + kHash + R"("}, {"name": "ben", "sha256": ")" + kHash + "\"}]}",
       "the same key"},
  };
  for (const auto& [text, wrong] : cases) {
    write(file, text);
    const std::string told = refusal([&] { read_keys(file); });
    EXPECT_NE(told.find(wrong), std::string::npos) << text << "\n" << told;
    EXPECT_EQ(told.find("secret"), std::string::npos) << "what may be a key is quoted";
  }
  write(file, std::string(2 << 20, ' '));
  EXPECT_NE(refusal([&] { read_keys(file); }).find("1 MiB"), std::string::npos);
}

TEST(Keys, AFolderThatIsAbsentIsNamedOnce) {
  const ScratchFolder folder;
  const fs::path absent = folder.path / "etc-wan";
  const std::string told = refusal([&] { add_key(absent / "keys.json", "anna", false, {}); });
  EXPECT_TRUE(told.starts_with("[keys] must lie in a folder that is there; install -d -m 0755 ")) << told;
  const size_t named = told.find("etc-wan");
  EXPECT_NE(named, std::string::npos) << told;
  EXPECT_EQ(told.find("etc-wan", named + 1), std::string::npos) << told;
  EXPECT_FALSE(fs::exists(absent));
}

TEST(Keys, NamesAreOfFewLetters) {
  const ScratchFolder folder;
  const fs::path file = folder.path / "keys.json";
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a/b"), std::string(65, 'a'), std::string("\n")}) {
    EXPECT_NE(refusal([&] { add_key(file, name, false, {}); }).find("[name]"), std::string::npos) << name;
  }
  EXPECT_FALSE(fs::exists(file));
}

}  // namespace
}  // namespace wan::serve
