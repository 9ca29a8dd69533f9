#include "engine/residency/verify.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/error.h"
#include "engine/residency/checksums.h"
#include "models/files/error.h"
#include "tests/support.h"
#include "tests/support/other_user.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

// FIPS 180-4's own example, and the digest of nothing.
const std::string kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string kNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct Silent : Progress {
  void at(const Report& report) override { last = report; }
  Report last{};
};

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

/// "ok a, differs b".
std::string states(const fs::path& path, const fs::path& list = {}) {
  Silent progress;
  std::string text;
  for (const VerifiedFile& file : verify_files(path, list, progress).files) {
    constexpr const char* kWords[] = {"ok", "differs", "absent", "not listed", "unreadable", "unclear"};
    text += (text.empty() ? "" : ", ") + std::string(kWords[int(file.state)]) + " " + file.name;
  }
  return text;
}

TEST(Verify, ComparesWithTheListsOfTheFolder) {
  const TemporaryFolder folder;
  write(folder / "a.pth", "abc");
  write(folder / "high/b.safetensors", "abcd");
  write(folder / "high/c.json", "");
  write(folder / ".hidden", "x");
  EXPECT_THROW(states(folder.path()), InvalidRequest) << "there is no list";
  write(folder / "SHA256SUMS", "# from the publisher\r\n" + kAbc + "  a.pth\r\n" + kAbc + " *./high/b.safetensors\r\n");
  EXPECT_EQ(states(folder.path()), "ok a.pth, differs high/b.safetensors, not listed high/c.json");
  write(folder / "high/c.json.sha256", kNothing + "\n");
  EXPECT_EQ(states(folder.path()), "ok a.pth, differs high/b.safetensors, ok high/c.json");
  write(folder / "SHA256SUMS", "SHA256 (a.pth) = " + kAbc + "\nSHA256 (gone.pth) = " + kAbc + "\n");
  EXPECT_EQ(states(folder.path()), "ok a.pth, not listed high/b.safetensors, ok high/c.json, absent gone.pth");
  EXPECT_EQ(states(folder / "a.pth"), "ok a.pth") << "one file, and the list beside it";
}

TEST(Verify, ComparesWithTheListOfTheUser) {
  const TemporaryFolder folder;
  write(folder / "m/high/x.safetensors", "abc");
  write(folder / "m/SHA256SUMS", kNothing + "  high/x.safetensors\n");
  write(folder / "list", kAbc + "  Wan2.2/high/x.safetensors\n");
  EXPECT_EQ(states(folder / "m", folder / "list"), "ok high/x.safetensors") << "by its name where its place is another";
  write(folder / "list", "no checksums\n" + std::string(64, 'g') + "  high/x.safetensors\n");
  EXPECT_THROW(states(folder / "m", folder / "list"), ModelError);
}

TEST(Verify, ANameAloneIsNoneWhereSeveralFilesHaveIt) {
  const TemporaryFolder folder;
  write(folder / "m/high_noise_model/x.safetensors", "abc");
  write(folder / "m/low_noise_model/x.safetensors", "abd");
  write(folder / "list", kAbc + "  x.safetensors\n");  // made inside high_noise_model
  EXPECT_EQ(
      states(folder / "m", folder / "list"),
      "not listed high_noise_model/x.safetensors, not listed low_noise_model/x.safetensors, unclear x.safetensors");
  Silent progress;
  const Verification found = verify_files(folder / "m", folder / "list", progress);
  EXPECT_EQ(found.files.at(2).why,
            "could be high_noise_model/x.safetensors or low_noise_model/x.safetensors; write the folder in the list");
  EXPECT_FALSE(found.is_good());
  EXPECT_EQ(states(folder / "m/high_noise_model", folder / "list"), "ok x.safetensors");
  // Nor where the list has it twice, and in a list of the folder itself names are places.
  write(folder / "list", kAbc + "  a/x.safetensors\n" + kNothing + "  b/x.safetensors\n");
  EXPECT_EQ(states(folder / "m/high_noise_model", folder / "list"),
            "not listed x.safetensors, absent a/x.safetensors, absent b/x.safetensors");
  write(folder / "m/high_noise_model/SHA256SUMS", kAbc + "  elsewhere/x.safetensors\n");
  EXPECT_EQ(states(folder / "m/high_noise_model"), "not listed x.safetensors, absent elsewhere/x.safetensors");
}

/// What comparing a folder with a list is refused with.
std::string refusal(const fs::path& path, const fs::path& list = {}) {
  try {
    return states(path, list);
  } catch (const ModelError& error) {
    return error.what();
  }
}

TEST(Verify, ALineThatIsNoChecksumIsToldWithItsNumber) {
  const TemporaryFolder folder;
  write(folder / "m/a.pth", "abc");
  const auto why = [&](const std::string& lines) {
    write(folder / "list", lines);
    return refusal(folder / "m", folder / "list");
  };
  EXPECT_EQ(why("\n# of the publisher\n" + kAbc + "  a.pth\r\n  \n"), "ok a.pth");
  const std::string short_one = why(kAbc + "  a.pth\n\n" + kAbc.substr(0, 62) + "  b.pth\n");
  EXPECT_NE(short_one.find("list] must hold lines of 64 hexadecimal digits and a name, as sha256sum writes, and line 3 "
                           "has 62 digits; correct the list, or download it again"),
            std::string::npos)
      << short_one;
  std::string junk = kAbc + "  a.pth\n";
  for (int i = 0; i < 7; ++i) junk += "see our page\n";
  EXPECT_NE(why(junk).find("and line 2 has 'see our page', line 3 has "), std::string::npos) << why(junk);
  EXPECT_NE(why(junk).find(" and 3 more; "), std::string::npos) << why(junk);
}

TEST(Verify, TwoSumsForOneNameAreTold) {
  const TemporaryFolder folder;
  write(folder / "m/a.pth", "abc");
  write(folder / "list", kAbc + "  a.pth\n" + kAbc + " *./a.pth\n");
  EXPECT_EQ(refusal(folder / "m", folder / "list"), "ok a.pth") << "the same one twice";
  write(folder / "list", kAbc + "  a.pth\n\n" + kNothing + "  a.pth\n");
  const std::string one = refusal(folder / "m", folder / "list");
  EXPECT_NE(one.find("list] must have one sum for a file, and a.pth has two: in list line 1 and list line 3; "),
            std::string::npos)
      << one;
  write(folder / "m/SHA256SUMS", kAbc + "  a.pth\n");
  write(folder / "m/a.pth.sha256", kNothing + "\n");
  const std::string two = refusal(folder / "m");
  EXPECT_NE(two.find("a.pth has two: in SHA256SUMS line 1 and a.pth.sha256 line 1; "), std::string::npos) << two;
}

TEST(Verify, NothingComparedIsNotGood) {
  const TemporaryFolder folder;
  write(folder / "m/a.pth", "abc");
  write(folder / "list", kAbc + "  b.pth\n");
  Silent progress;
  const Verification one = verify_files(folder / "m/a.pth", folder / "list", progress);
  EXPECT_FALSE(one.is_good());
  EXPECT_THROW(one.refuse_uncompared(), ModelError);
  write(folder / "list", kAbc + "  a.pth\n");
  const Verification other = verify_files(folder / "m/a.pth", folder / "list", progress);
  EXPECT_TRUE(other.is_good());
  EXPECT_NO_THROW(other.refuse_uncompared());
}

TEST(Verify, LinksThatLeadNowhereAreToldAsThat) {
  const TemporaryFolder folder;
  write(folder / "m/a.pth", "abc");
  fs::create_symlink("gone.pth", folder / "m/dead.pth");
  fs::create_symlink("loop.pth", folder / "m/loop.pth");
  write(folder / "m/SHA256SUMS", kAbc + "  a.pth\n" + kAbc + "  dead.pth\n");
  Silent progress;
  const Verification found = verify_files(folder / "m", {}, progress);
  EXPECT_EQ(states(folder / "m"), "ok a.pth, unreadable dead.pth, not listed loop.pth");
  EXPECT_EQ(found.files.at(1).why, "is a link to a file that is not there; download it again");
  EXPECT_TRUE(found.files.at(1).link);
  EXPECT_EQ(found.files.at(1).bytes, 0u);
  EXPECT_EQ(found.files.at(2).why, "must be a readable file: Too many levels of symbolic links");
  EXPECT_NE(refusal(folder / "m/dead.pth").find("dead.pth] is a link to a file that is not there; download it again"),
            std::string::npos);
  EXPECT_NE(refusal(folder / "m/loop.pth").find("must be a readable file: Too many levels of symbolic links"),
            std::string::npos);
}

TEST(Verify, KnowsWhatDownloadsLeave) {
  const TemporaryFolder folder;
  write(folder / "high/x.safetensors", "abc");
  write(folder / "config.json", "{}");
  write(folder / ".cache/huggingface/download/high/x.safetensors.metadata", "0123\n" + kAbc + "\n1754.5\n");
  write(folder / ".cache/huggingface/download/config.json.metadata", "0123\n" + kAbc.substr(0, 40) + "\n1754.5\n");
  EXPECT_EQ(states(folder.path()), "not listed config.json, ok high/x.safetensors");
  const TemporaryFolder cache;
  write(cache / "blobs" / fs::path(kAbc), "abcd");
  fs::create_directories(cache / "snapshots/1");
  fs::create_symlink("../../blobs/" + kAbc, cache / "snapshots/1/x.safetensors");
  EXPECT_EQ(states(cache / "snapshots/1"), "differs x.safetensors");
}

TEST(Verify, TellsHowFarItIs) {
  const TemporaryFolder folder;
  write(folder / "a.pth", std::string(3'000'000, 'x'));
  write(folder / "SHA256SUMS", kAbc + "  a.pth\n");
  Silent progress;
  const Verification found = verify_files(folder.path(), {}, progress);
  EXPECT_EQ(progress.last.step, progress.last.steps);
  EXPECT_EQ(found.count(Verdict::Differs), 1);
  EXPECT_EQ(found.files.at(0).sha256.size(), 64u);
  EXPECT_EQ(found.lists, std::vector<std::string>{"SHA256SUMS"});
}

TEST(Verify, WhatCannotBeReadIsToldAndTheRestIsCompared) {
  const TemporaryFolder folder;
  write(folder / "m/a.pth", "abc");
  write(folder / "m/closed.pth", "abc");
  write(folder / "m/inside/b.pth", "abc");
  write(folder / "m/z.pth", "abc");
  write(folder / "m/SHA256SUMS", kAbc + "  a.pth\n" + kAbc + "  closed.pth\n" + kAbc + "  inside/b.pth\n" + kAbc +
                                     "  z.pth\n" + kAbc + "  gone.pth\n");
  for (const fs::path& open : {folder.path(), folder / "m"})
    fs::permissions(open, fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  for (const char* closed : {"m/closed.pth", "m/inside"}) fs::permissions(folder / closed, fs::perms::none);
  const auto found = as_other_user([&] {
    Silent progress;
    const Verification all = verify_files(folder / "m", {}, progress);
    return states(folder / "m") + (all.is_good() ? ", good, " : ", not good, ") + all.files[1].why;
  });
  for (const char* closed : {"m/closed.pth", "m/inside"}) fs::permissions(folder / closed, fs::perms::owner_all);
  if (!found) GTEST_SKIP() << "root's rights cannot be given up here";
  EXPECT_EQ(*found,
            "ok a.pth, unreadable closed.pth, ok z.pth, absent gone.pth, unreadable inside/b.pth, not good, Permission "
            "denied");
}

TEST(Verify, AHiddenFileThatAListNamesIsRead) {
  const TemporaryFolder folder;
  write(folder / ".hidden", "abc");
  write(folder / "SHA256SUMS", kAbc + "  .hidden\n" + kAbc + "  ../SHA256SUMS\n");
  EXPECT_EQ(states(folder.path()), "absent ../SHA256SUMS, ok .hidden");
}

TEST(Verify, PartsBehindALinkToAFolderAreComparedToo) {
  const TemporaryFolder folder;
  write(folder / "disk/a.safetensors", "abc");
  fs::create_directories(folder / "m");
  fs::create_directory_symlink("../disk", folder / "m/diffusion_models");
  write(folder / "m/SHA256SUMS", kAbc + "  diffusion_models/a.safetensors\n");
  EXPECT_EQ(states(folder / "m"), "ok diffusion_models/a.safetensors");
}

}  // namespace
}  // namespace wan
