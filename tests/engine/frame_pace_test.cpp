// How fast frames follow each other, by their times.
#include "engine/media/frame_pace.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/media/video_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

class FramePace : public testing::Test {
 protected:
  /// Of `count` frames, frame N at the time that `times` says, in seconds times TB.
  std::optional<Rational> pace(const std::string& name, const std::string& times, int64_t count,
                               const std::string& codec) const {
    path_ = folder_ / name;
    ffmpeg("-f lavfi -i testsrc=size=32x32:rate=30 -frames:v " + std::to_string(count) +
           " -vf \"settb=1/90000,setpts=(" + times + ")/TB\" -fps_mode passthrough -enc_time_base 1:90000 -c:v " +
           codec + " " + path_);
    return frame_pace({path_, "video"});
  }
  Rational stated() const { return VideoReader({path_, "video"}).info().rate.reduced(); }

  const TemporaryFolder folder_;
  mutable std::string path_;
};

TEST_F(FramePace, IsThatOfTheFramesWhateverIsStated) {
  EXPECT_EQ(pace("slow.mkv", "N/15", 30, "ffv1"), (Rational{15, 1}));
  EXPECT_EQ(stated(), (Rational{30, 1}));
  EXPECT_EQ(pace("slow.flv", "N/15", 30, "flv1"), (Rational{15, 1}));
  EXPECT_EQ(pace("film.webm", "N*1001/24000", 90, "libvpx"), (Rational{24000, 1001}));
  EXPECT_EQ(pace("odd.mkv", "N*0.08", 60, "ffv1"), (Rational{25, 2}));
  // Out of order in the file.
  EXPECT_EQ(pace("reordered.mp4", "N/30", 60, "libx264 -bf 3"), (Rational{30, 1}));
  // A pause, and a frame that comes too late, are no other pace.
  EXPECT_EQ(pace("pause.mkv", "N/10+5*gt(N\\,40)", 60, "ffv1"), (Rational{10, 1}));
}

TEST_F(FramePace, IsNoneWhereTimesVaryOrArePartsOfFrames) {
  EXPECT_EQ(pace("varied.mkv", "N/10+0.05*mod(N\\,2)", 40, "ffv1"), std::nullopt);
  EXPECT_EQ(pace("few.mkv", "N/15", 4, "ffv1"), std::nullopt);
  EXPECT_EQ(pace("stream.ts", "N/15", 30, "libx264"), std::nullopt);
  write_bytes(folder_ / "text.mkv", "no video");
  EXPECT_THROW(frame_pace({folder_ / "text.mkv", "video"}), InvalidRequest);
}

}  // namespace
}  // namespace wan
