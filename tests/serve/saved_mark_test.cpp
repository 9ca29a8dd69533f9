// What tells that a batch has saved more.
#include "engine/serve/work/saved_mark.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/serve/queue_jobs.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

class SavedMark : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_.path() / name).parent_path());
    std::ofstream(folder_.path() / name, std::ios::binary) << text;
  }
  std::string mark() const { return saved_mark(folder_.path()); }

  QueueFolder folder_;
};

TEST_F(SavedMark, ChangesWithWhatIsSaved) {
  EXPECT_EQ(mark(), "");
  EXPECT_EQ(saved_mark(folder_.path() / "absent"), "");
  write("a.encoded.safetensors", "one");
  const std::string one = mark();
  EXPECT_NE(one, "");
  write("a.encoded.safetensors", "two");
  const std::string two = mark();
  EXPECT_NE(two, one) << "a state of another step";
  write("b.encoded.safetensors", "one");
  const std::string more = mark();
  EXPECT_NE(more, two);
  write("c.clips/clip-00000.mp4", "clip");
  EXPECT_NE(mark(), more) << "a clip of speech";
  fs::remove_all(folder_.path() / "c.clips");
  EXPECT_EQ(mark(), more);
}

TEST_F(SavedMark, StaysWhereNothingMoreIsSaved) {
  write("a.sampling.safetensors", std::string(200 << 10, 'x'));
  write("c.clips/clip-00000.safetensors", "clip");
  const std::string before = mark();
  write("journal.jsonl", "{}\n");
  write("b.latents.safetensors.part", "half");
  write("b.latents.safetensors.123.part", "half");
  write("c.clips/clip-00001.mp4.part", "half");
  write("c.clips/deeper/file", "of nobody");
  fs::create_directory_symlink("/", folder_.path() / "link");
  EXPECT_EQ(mark(), before);
  // The same state, saved once more by the next attempt.
  fs::remove(folder_.path() / "a.sampling.safetensors");
  write("a.sampling.safetensors", std::string(200 << 10, 'x'));
  EXPECT_EQ(mark(), before);
  write("a.sampling.safetensors", std::string((200 << 10) + 1, 'x'));
  EXPECT_NE(mark(), before);
}

}  // namespace
}  // namespace wan::serve
