#include "engine/request/files.h"

#include <fstream>

#include "engine/base/error.h"
#include "engine/request/parse.h"
#include "tests/support.h"

namespace wan {
namespace {

TEST(Files, AnOutputLeavesRoomForWhatIsWrittenBesideIt) {
  TemporaryFolder folder;
  EXPECT_NO_THROW(check_writable("out", folder / std::string(220, 'a')));
  EXPECT_THROW(check_writable("out", folder / std::string(221, 'a')), InvalidRequest);
  // The longest name of all is that of unfinished latents.
  std::string name(220, 'a');
  name += ".latents.safetensors.4194304.part";
  std::ofstream longest(folder / name);
  EXPECT_TRUE(longest.is_open());
}

TEST(Files, AnOutputIsARegularFileOrNothingYet) {
  TemporaryFolder folder;
  std::ofstream(folder / "old.mp4") << "x";
  EXPECT_NO_THROW(check_writable("out", folder / "old.mp4"));
  EXPECT_NO_THROW(check_writable("out", folder / "new.mp4"));
  for (const char* path : {"/dev/null", "/dev/full"}) EXPECT_THROW(check_writable("out", path), InvalidRequest) << path;
}

TEST(Files, AFileUrlIsToldToBeGivenAsAPath) {
  const auto wrong = [](const std::string& path) {
    try {
      check_readable("image_url", path);
      return std::string("was taken");
    } catch (const InvalidRequest& invalid) {
      return invalid.errors[0].wrong;
    }
  };
  EXPECT_EQ(wrong("file:///tmp/a.png"),
            "must be a path, got the URL 'file:///tmp/a.png'; give the path alone, which stands behind file://");
  EXPECT_EQ(wrong("FILE:///a%20b.png"),
            "must be a path, got the URL 'FILE:///a%20b.png'; give the path alone, which stands behind file://, its "
            "letters as they are and not as %XX");
  // In a manifest, where paths are from its folder.
  try {
    parse(Task::I2V, {{"model", "m"}, {"prompt", ""}, {"image_url", "file:///tmp/a.png"}}, {.folder = "/tmp"});
    FAIL();
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors[0].field, "image_url");
    EXPECT_EQ(invalid.errors[0].wrong, wrong("file:///tmp/a.png"));
  }
}

TEST(Files, OnlyMediaMayBeUrls) {
  const auto wrong = [](const char* field) {
    try {
      check_readable(field, "absent.txt");
      return std::string("was taken");
    } catch (const InvalidRequest& invalid) {
      return invalid.errors[0].wrong;
    }
  };
  EXPECT_EQ(wrong("image_url"), "must be a file or an http(s) URL, and there is no file 'absent.txt'");
  for (const char* text : {"verify", "manifest", "loras"})
    EXPECT_EQ(wrong(text), "must be a file, and there is no file 'absent.txt'") << text;
}

TEST(Files, AnOutputIsNoneOfTheInputs) {
  TemporaryFolder folder;
  std::ofstream(folder / "in.mp4") << "x";
  std::filesystem::create_symlink("in.mp4", folder / "link.mp4");
  nlohmann::json fields = {{"prompt", "x"}, {"model", "m"}, {"video_url", folder / "in.mp4"}};
  for (const char* out : {"in.mp4", "link.mp4", "./in.mp4"}) {
    fields["out"] = folder / out;
    EXPECT_THROW(parse(Task::V2V, fields), InvalidRequest) << out;
  }
  fields["out"] = folder / "out.mp4";
  EXPECT_NO_THROW(parse(Task::V2V, fields));
  EXPECT_THROW(check_other_file("contact_sheet", folder / "new", "out", folder.path() / "." / "new"), InvalidRequest);
  EXPECT_NO_THROW(check_other_file("contact_sheet", folder / "new", "out", folder / "newer"));
}

}  // namespace
}  // namespace wan
