#include "engine/speech/clock.h"

#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

namespace wan {
namespace {

std::vector<int64_t> lengths(const std::vector<Clip>& clips) {
  std::vector<int64_t> result;
  int64_t start = 0;
  for (const Clip& clip : clips) {
    EXPECT_EQ(clip.start, start);
    start += clip.frames;
    result.push_back(clip.frames);
  }
  return result;
}

using Lengths = std::vector<int64_t>;

TEST(SpeechClock, ThirtyFramesASecondAreTruncatedInDouble) {
  EXPECT_EQ(feature_frames_30(64), 38);
  EXPECT_EQ(feature_frames_30(5999), 3599);
  // 3 * 205 / 5 = 123, but 205 / 50 * 30 is just below it.
  for (int64_t frames : {205, 410, 820, 845, 1615}) EXPECT_EQ(feature_frames_30(frames), 3 * frames / 5 - 1) << frames;
  EXPECT_EQ(feature_frames_30(1), 0);
}

TEST(SpeechClock, FeatureIndexRoundsHalfToEvenAndEndsWithNothing) {
  // At 16 frames a second the step is exactly 1.875: 7.5 goes up to 8, 22.5 down to 22.
  auto index = feature_index(38, 16, 24);
  EXPECT_EQ(index[4], 8);
  EXPECT_EQ(index[12], 22);
  EXPECT_EQ(index[20], -1);  // 37.5 -> 38, which is past the end
  EXPECT_EQ(index[19], 36);
  // Above 30 frames a second features repeat.
  EXPECT_EQ(feature_index(100, 60, 4), (Lengths{0, 0, 1, 2}));
}

TEST(SpeechClock, ReferenceClipsGoOnPastAudioThatFillsThem) {
  EXPECT_EQ(reference_clips(38, 16, 80).size(), 1u);
  EXPECT_EQ(reference_clips(149, 16, 80).size(), 1u);
  EXPECT_EQ(reference_clips(150, 16, 80).size(), 2u);  // five seconds exactly: one more clip, of silence
  EXPECT_EQ(lengths(reference_clips(3599, 16, 80)), Lengths(24, 80));
  EXPECT_EQ(reference_clips(3599, 16, 80, 3).size(), 3u);
  EXPECT_EQ(reference_clips(38, 16, 80, 3).size(), 1u);
}

TEST(SpeechClock, FramesLastAsLongAsTheSound) {
  EXPECT_EQ(frames_for(16000, 16000, 16), 16);
  EXPECT_EQ(frames_for(16001, 16000, 16), 17);
  EXPECT_EQ(frames_for(44100 * 3600, 44100, 60), 216000);
  EXPECT_EQ(frames_for(1, 192000, 4), 1);
  EXPECT_THROW(frames_for(0, 16000, 16), std::invalid_argument);
  EXPECT_THROW(frames_for(INT64_MAX, 16000, 16), std::invalid_argument);
}

TEST(SpeechClock, LastTwoClipsShareWhatIsLeft) {
  EXPECT_EQ(lengths(shared_clips(160, 80)), (Lengths{80, 80}));
  EXPECT_EQ(lengths(shared_clips(128, 80)), (Lengths{80, 48}));
  EXPECT_EQ(lengths(shared_clips(120, 80)), (Lengths{80, 40}));
  EXPECT_EQ(lengths(shared_clips(112, 80)), (Lengths{56, 56}));
  EXPECT_EQ(lengths(shared_clips(81, 80)), (Lengths{44, 40}));
  EXPECT_EQ(lengths(shared_clips(245, 80)), (Lengths{80, 80, 44, 44}));
  EXPECT_EQ(lengths(shared_clips(48, 80)), (Lengths{48}));
  EXPECT_EQ(lengths(shared_clips(7, 80)), (Lengths{40}));       // rendered and cut
  EXPECT_EQ(lengths(shared_clips(44, 40)), (Lengths{40, 40}));  // no split keeps 40
}

TEST(SpeechClock, EveryLengthIsSplitIntoClipsTheModelMakesWell) {
  for (int64_t clip = kShortestClip; clip <= kLongestClip; clip += 4) {
    for (int64_t frames = 1; frames < 500; ++frames) {
      auto split = lengths(shared_clips(frames, clip));
      int64_t total = std::accumulate(split.begin(), split.end(), int64_t(0));
      EXPECT_GE(total, frames);
      // Two clips' frames can always be shared where a clip is twice as long as the shortest.
      if (clip >= 2 * kShortestClip) {
        EXPECT_LT(total, std::max(frames + 4, kShortestClip + 1));
      }
      for (int64_t length : split) EXPECT_TRUE(length % 4 == 0 && length >= kShortestClip && length <= clip) << length;
    }
  }
  EXPECT_THROW(shared_clips(100, 124), std::invalid_argument);
  EXPECT_THROW(shared_clips(100, 42), std::invalid_argument);
  EXPECT_THROW(shared_clips(0, 80), std::invalid_argument);
}

TEST(SpeechClock, WindowsCoverAFileWithContextAroundEveryCore) {
  AudioWindow whole = audio_window(kWholeFileFrames, 17);
  EXPECT_EQ(whole.first, 0);
  EXPECT_EQ(whole.core_last, kWholeFileFrames);
  for (int64_t frames : {6001, 9999, 10000, 10500, 15000, 180000}) {
    int64_t covered = 0;
    while (covered < frames) {
      AudioWindow window = audio_window(frames, covered);
      EXPECT_EQ(window.core_first, covered);
      EXPECT_EQ(window.last - window.first, kWholeFileFrames);
      EXPECT_LE(window.first, std::max<int64_t>(window.core_first - kWindowContext, 0));
      EXPECT_GE(window.last, std::min(window.core_last + kWindowContext, frames));
      EXPECT_TRUE(window.first >= 0 && window.last <= frames);
      ASSERT_GT(window.core_last, covered);
      covered = window.core_last;
    }
    EXPECT_EQ(covered, frames);
  }
}

}  // namespace
}  // namespace wan
