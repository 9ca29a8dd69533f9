// Encoding beside decoding leaves the same file, and tells what the disk refuses.
#include "engine/frames/writing_thread.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

VideoFormat small_format() {
  VideoFormat format;
  format.height = 32;
  format.width = 48;
  return format;
}

std::vector<at::Tensor> pieces() {
  at::manual_seed(5);
  std::vector<at::Tensor> all;
  for (int64_t count : {1, 4, 4, 4, 4, 4}) all.push_back(at::randint(0, 255, {count, 32, 48, 3}, at::kByte));
  return all;
}

TEST(WritingThread, LeavesTheSameBytes) {
  const TemporaryFolder folder;
  const std::string plain = folder / "plain.mp4", aside = folder / "aside.mp4";
  VideoWriter writer(plain, small_format());
  for (const at::Tensor& piece : pieces()) writer.write(piece);
  writer.finish();
  WritingThread thread(aside, small_format());
  for (const at::Tensor& piece : pieces()) thread.write(piece);
  EXPECT_FALSE(std::filesystem::exists(aside)) << "not before it is whole";
  thread.finish();
  EXPECT_EQ(bytes_of(aside), bytes_of(plain));
}

TEST(WritingThread, TellsWhatTheWriterThrows) {
  const TemporaryFolder folder;
  WritingThread thread(folder / "a.mp4", small_format());
  thread.write(at::zeros({1, 8, 8, 3}, at::kByte));  // of another size
  EXPECT_THROW(thread.finish(), std::invalid_argument);
}

TEST(WritingThread, AFailureEndsTheDecodingAndLeavesNothing) {
  const TemporaryFolder folder;
  const auto decode = [&] {
    WritingThread thread(folder / "a.mp4", small_format());
    thread.write(pieces()[0]);
    thread.write(at::zeros({1, 8, 8, 3}, at::kByte));  // of another size
    // One runs and two wait: no more is taken before the failure is there.
    for (int i = 0; i < 4; ++i) thread.write(pieces()[1]);
    ADD_FAILURE() << "the decoder goes on behind a file that cannot be written";
  };
  EXPECT_THROW(decode(), std::invalid_argument);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "the part is removed";
}

TEST(WritingThread, LeavesNothingWhereItGoesUnfinished) {
  const TemporaryFolder folder;
  {
    WritingThread thread(folder / "a.mp4", small_format());
    for (const at::Tensor& piece : pieces()) thread.write(piece);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace wan
