// Features of long files: windows against the whole, and how much is held at a time.
#include "engine/speech/features.h"

#include <ATen/ATen.h>

#include "engine/base/error.h"
#include "tests/small_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

/// One layer, 32 wide: attention over two minutes takes a second.
struct SmallEncoder {
  SmallEncoder()
      : weights(small_checkpoint(folder / "model.safetensors",
                                 small_weights(
                                     "wav2vec2_large_xlsr_53_english", {{1024, 32}, {4096, 48}, {512, 8}, {64, 2}},
                                     [](const std::string& name) {
                                       const size_t at = name.find("encoder.layers.");
                                       return at == std::string::npos || std::stoi(name.substr(at + 15)) < 1;
                                     },
                                     4))),
        encoder(weights, {.hidden_size = 32,
                          .num_hidden_layers = 1,
                          .num_attention_heads = 2,
                          .intermediate_size = 48,
                          .conv_dim = std::vector<int64_t>(7, 8),
                          .conv_kernel = {10, 3, 3, 3, 3, 2, 2},
                          .conv_stride = {5, 2, 2, 2, 2, 2, 2},
                          .num_conv_pos_embeddings = 128,
                          .num_conv_pos_embedding_groups = 16,
                          .layer_norm_eps = 1e-5}) {}
  TemporaryFolder folder;
  Weights weights;
  Wav2Vec2 encoder;
};

/// A tone that glides and swells, off centre, so that the file's mean and variance differ from a window's.
Tensor glide(double seconds) {
  Tensor t = at::arange(int64_t(seconds * 16000), at::kDouble) / 16000;
  Tensor swell = 0.1 + 0.4 * t / seconds;
  return ((t * 900 + t * t * 5).sin() * swell * (t * 7).sin() + 0.05 * t / seconds).to(at::kFloat);
}

/// A file that remembers how it was read.
struct Recording {
  Tensor samples;
  int64_t longest = 0, reads = 0;
  Waveform wave();
};

SampleStatistics statistics_of(const Tensor& samples) {
  SampleStatistics statistics;
  statistics.add(samples);
  return statistics;
}

Waveform Recording::wave() {
  return {samples.size(0),
          [this](int64_t start, int64_t count) {
            longest = std::max(longest, count);
            ++reads;
            return samples.narrow(0, start, count);
          },
          statistics_of(samples)};
}

/// Hidden states of samples that are normalised: [states, hidden, frames] float64.
Tensor hidden_states(const Wav2Vec2& encoder, const Tensor& samples) {
  std::vector<Tensor> states;
  encoder.hidden_states(samples, [&](int64_t, const Tensor& state) { states.push_back(state.to(at::kDouble)); });
  return at::stack(states).transpose(1, 2);
}

/// The reference's interpolation to 30 frames a second -> [states, frames, hidden].
Tensor at_30(const Tensor& states) {
  return at::upsample_linear1d(states, {feature_frames_30(states.size(2))}, true).transpose(1, 2);
}

std::vector<int64_t> counting(int64_t from, int64_t to) {
  std::vector<int64_t> index;
  for (int64_t i = from; i < to; ++i) index.push_back(i);
  return index;
}

TEST(SpeechFeatures, ShortFilesAreSeenWhole) {
  SmallEncoder small;
  Tensor samples = glide(7.3);
  Recording file{samples};
  SpeechFeatures features(small.encoder, file.wave());
  Tensor want = at_30(hidden_states(small.encoder, statistics_of(samples).normalise(samples)));
  ASSERT_EQ(features.frames(), want.size(1));
  Tensor got = features.at(counting(0, features.frames()));
  EXPECT_TRUE(is_close(got.transpose(1, 2), want, 1e-4));  // float32 weights of the interpolation
  // Any choice of frames; what lies past the end is zero.
  Tensor some = features.at({3, 3, 10, -1});
  EXPECT_TRUE(some.select(2, 1).equal(got.select(2, 3)));
  EXPECT_TRUE(some.select(2, 2).equal(got.select(2, 10)));
  EXPECT_EQ(some.select(2, 3).abs().max().item<float>(), 0);
  EXPECT_THROW(features.at({features.frames()}), c10::Error);
}

TEST(SpeechFeatures, WindowsOfALongFileDifferOnlyByDistantAttention) {
  SmallEncoder small;
  const Tensor samples = glide(130);
  Recording file{samples};
  SpeechFeatures features(small.encoder, file.wave());
  file = {samples};
  std::vector<Tensor> clips;
  for (int64_t start = 0; start < features.frames(); start += 150)
    clips.push_back(features.at(counting(start, std::min(start + 150, features.frames()))).clone());
  Tensor got = at::cat(clips, 2).transpose(1, 2);
  // The rule, put together by hand: 6499 frames in two windows of 6000, of which the first answers up to frame 5000.
  Tensor normalised = statistics_of(samples).normalise(samples);
  const int64_t frames = small.encoder.config().frames(samples.size(0)), window = small.encoder.config().samples(6000);
  ASSERT_EQ(frames, 6499);
  Tensor first = hidden_states(small.encoder, normalised.narrow(0, 0, window));
  Tensor second = hidden_states(small.encoder, normalised.narrow(0, 499 * 320, window));
  // A feature between frames 4999 and 5000 takes both from the first window.
  Tensor head = at_30(at::cat({first.narrow(2, 0, 5001), second.narrow(2, 5001 - 499, frames - 5001)}, 2));
  Tensor tail = at_30(at::cat({first.narrow(2, 0, 5000), second.narrow(2, 5000 - 499, frames - 5000)}, 2));
  const int64_t cut = got.size(1) * 5000 / (frames - 1) + 1;  // the first feature at or behind frame 5000
  Tensor want = at::cat({head.narrow(1, 0, cut), tail.narrow(1, cut, got.size(1) - cut)}, 1);
  EXPECT_TRUE(is_close(got, want, 1e-4));  // float32 weights of the interpolation
  // State 0 is local, so that mean, variance, grid and positions are seen to be those of the whole file.
  Tensor whole = at_30(hidden_states(small.encoder, normalised));
  EXPECT_TRUE(is_close(got[0], whole[0], 1e-4));
  EXPECT_GT(relative_rms(got[1], whole[1]), 1e-4);
  // Never more than 120 s at once, and each window once.
  EXPECT_EQ(file.longest, window);
  EXPECT_EQ(file.reads, 2);
}

TEST(SpeechFeatures, TooShortASoundIsRefused) {
  SmallEncoder small;
  for (int64_t samples : {0, 399, 400, 719}) {
    Recording file{at::zeros({samples})};
    EXPECT_THROW(SpeechFeatures(small.encoder, file.wave()), InvalidRequest) << samples;
  }
  Recording silence{at::zeros({720})};
  SpeechFeatures features(small.encoder, silence.wave());
  EXPECT_EQ(features.frames(), 1);
  EXPECT_TRUE(features.at({0}).isfinite().all().item<bool>());
}

// The answer to an interrupt comes within a layer.
TEST(SpeechFeatures, AsksBeforeEachLayer) {
  SmallEncoder small;
  Recording file{glide(2)};
  std::vector<int64_t> asked;
  SpeechFeatures features(small.encoder, file.wave(), [&](int64_t done, int64_t all) {
    EXPECT_EQ(all, 2);
    asked.push_back(done);
    if (asked.size() == 2) throw Cancelled();
  });
  EXPECT_THROW(features.at({0}), Cancelled);
  EXPECT_EQ(asked, (std::vector<int64_t>{0, 1}));
  EXPECT_TRUE(features.at({0}).isfinite().all().item<bool>());
  EXPECT_EQ(asked.size(), 5u);
}

}  // namespace
}  // namespace wan
