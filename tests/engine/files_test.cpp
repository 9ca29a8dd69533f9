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
