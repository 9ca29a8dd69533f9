// The speech transformer: names of the published checkpoint, configs, what branches share, what stands for absent
// inputs.
#include "models/wan_s2v/model.h"

#include <ATen/ATen.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "tests/small_checkpoint.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

constexpr int64_t kDim = 48, kFfnDim = 56, kAudioDim = 8, kTextDim = 20, kStates = 25;

/// Three blocks of two heads, sound after the first and the last.
SpeechConfig small_config(int64_t dim = kDim, int64_t ffn_dim = kFfnDim) {
  return {.wan = {.dim = dim,
                  .ffn_dim = ffn_dim,
                  .freq_dim = 256,
                  .in_dim = 16,
                  .out_dim = 16,
                  .num_heads = 2,
                  .num_layers = 3,
                  .text_len = 12,
                  .eps = 1e-6},
          .cond_dim = 16,
          .audio_dim = kAudioDim,
          .num_audio_token = 4,
          .audio_inject_layers = {0, 2}};
}

bool in_small(const std::string& name) {
  auto number = [&](const std::string& prefix) {
    return name.starts_with(prefix) ? std::stoi(name.substr(prefix.size())) : 0;
  };
  return number("blocks.") < 3 && number("audio_injector.injector.") < 2 &&
         number("audio_injector.injector_adain_layers.") < 2;
}

std::map<std::string, Tensor> small_tensors(int64_t dim = kDim, int64_t ffn_dim = kFfnDim) {
  return small_weights("s2v_14b",
                       {{5120, dim},
                        {13824, ffn_dim},
                        {30720, 6 * dim},
                        {10240, 2 * dim},
                        {2560, dim / 2},
                        {1280, dim / 4},
                        {1024, kAudioDim},
                        {4096, kTextDim}},
                       in_small, 2);
}

class SpeechTest : public testing::Test {
 protected:
  SpeechModel model(at::ScalarType compute = at::kFloat) {
    Weights weights(small_checkpoint(folder_ / (std::string(at::toString(compute)) + ".safetensors"), small_tensors()));
    SpeechModel model(weights.root(), small_config(), compute);
    weights.finish();
    return model;
  }
  void SetUp() override { at::manual_seed(3); }

  TemporaryFolder folder_;
  const int64_t frames_ = 2;
  Tensor noise_ = at::randn({16, 2, 8, 16}), reference_ = at::randn({16, 1, 8, 16}),
         motion_ = at::randn({16, 19, 8, 16});
  Tensor states_ = at::randn({5, kTextDim}), negative_states_ = at::randn({7, kTextDim});
  Tensor features_ = at::randn({kStates, kAudioDim, 8});
};

TEST_F(SpeechTest, UsesEveryNameOfThePublishedCheckpointOnce) {
  Weights weights(Checkpoint::names_only(published_tensors("s2v_14b"), "s2v_14b"));
  SpeechModel model(weights.root(), kWanS2v14b, at::kBFloat16);
  EXPECT_EQ(weights.checkpoint().tensors().size(), 1260u);
  EXPECT_NO_THROW(weights.finish());
  EXPECT_EQ(model.injectors.size(), 12u);
}

TEST_F(SpeechTest, BranchesDoNotDisturbEachOther) {
  SpeechModel speech = model();
  SpeechClip clip = speech.clip(reference_, motion_, {}, frames_);
  AudioContext sound = speech.audio(features_), silence = speech.audio(features_ * 0);
  Context prompt = speech.context(states_), negative = speech.context(negative_states_);
  std::vector<Tensor> both = speech(noise_, clip, 700, {&prompt, &negative}, {&sound, &silence});
  Context prompt_alone = speech.context(states_), negative_alone = speech.context(negative_states_);
  EXPECT_TRUE(both[0].equal(speech(noise_, clip, 700, {&prompt_alone}, {&sound})[0]));
  EXPECT_TRUE(both[1].equal(speech(noise_, clip, 700, {&negative_alone}, {&silence})[0]));
  // The same text with and without sound parts too, at the first injector.
  std::vector<Tensor> heard = speech(noise_, clip, 700, {&prompt, &prompt_alone}, {&sound, &silence});
  EXPECT_TRUE(heard[0].equal(both[0]));
  EXPECT_GT(relative_rms(heard[1], heard[0]), 1e-3);
}

TEST_F(SpeechTest, EveryInputIsHeard) {
  SpeechModel speech = model();
  auto velocity = [&](const Tensor& reference, const Tensor& motion, const Tensor& pose, const Tensor& features) {
    Context prompt = speech.context(states_);
    AudioContext sound = speech.audio(features);
    return speech(noise_, speech.clip(reference, motion, pose, frames_), 300, {&prompt}, {&sound})[0];
  };
  Tensor want = velocity(reference_, motion_, {}, features_), pose = at::randn({16, 2, 8, 16});
  Tensor late = features_.clone();
  late.select(2, 7).add_(1);
  EXPECT_GT(relative_rms(velocity(reference_ * 2, motion_, {}, features_), want), 1e-3);
  EXPECT_GT(relative_rms(velocity(reference_, motion_ * 2, {}, features_), want), 1e-3);
  EXPECT_GT(relative_rms(velocity(reference_, {}, {}, features_), want), 1e-3);
  EXPECT_GT(relative_rms(velocity(reference_, motion_, pose, features_), want), 1e-3);
  EXPECT_GT(relative_rms(velocity(reference_, motion_, {}, late), want), 1e-4);
  // Without a pose video the condition is zero latents.
  EXPECT_TRUE(
      is_close(velocity(reference_, motion_, pose * 0, features_), want, 1e-5));  // float32, other order of sums
  // What is missing of the past is zero latents on the old side.
  Tensor padded = at::cat({at::zeros({16, 12, 8, 16}), motion_.narrow(1, 12, 7)}, 1);
  EXPECT_TRUE(
      velocity(reference_, motion_.narrow(1, 12, 7), {}, features_).equal(velocity(reference_, padded, {}, features_)));
}

TEST_F(SpeechTest, SoundReachesOnlyItsOwnAndLaterFrames) {
  // The audio encoder is causal: a change at video frame 5 leaves latent frame 0 (video frames 0 to 3) as it was.
  SpeechModel speech = model();
  Tensor later = features_.clone();
  later.select(2, 5).add_(1);
  AudioTokens before = speech.casual_audio_encoder(features_), after = speech.casual_audio_encoder(later);
  ASSERT_EQ(before.local.size(0), kMotionLatents + frames_);
  EXPECT_TRUE(before.local.narrow(0, 0, kMotionLatents + 1).equal(after.local.narrow(0, 0, kMotionLatents + 1)));
  EXPECT_FALSE(before.local[kMotionLatents + 1].equal(after.local[kMotionLatents + 1]));
  EXPECT_FALSE(before.global[kMotionLatents + 1].equal(after.global[kMotionLatents + 1]));
}

TEST_F(SpeechTest, Bf16KeepsTheFloat32PartsInFloat32) {
  SpeechModel exact = model(), rounded = model(at::kBFloat16);
  auto velocity = [&](const SpeechModel& speech) {
    Context prompt = speech.context(states_);
    AudioContext sound = speech.audio(features_);
    Tensor result = speech(noise_, speech.clip(reference_, motion_, {}, frames_), 500, {&prompt}, {&sound})[0];
    EXPECT_EQ(result.scalar_type(), at::kFloat);
    return result;
  };
  const double error = relative_rms(velocity(rounded), velocity(exact));
  EXPECT_GT(error, 1e-4);
  EXPECT_LT(error, 0.02);
}

TEST_F(SpeechTest, EightBitsAreNearTheExactOnes) {
  const c10::InferenceMode inference;
  // Widths that are rotated, in three blocks: the middle one's text queries read codes as well.
  constexpr int64_t kWide = 256, kWideFfn = 384;
  const Checkpoint checkpoint = small_checkpoint(folder_ / "wide.safetensors", small_tensors(kWide, kWideFfn));
  const auto velocity = [&](Precision precision, at::ScalarType compute) {
    Weights weights(checkpoint, Place{.precision = precision});
    const SpeechModel speech(weights.root(), small_config(kWide, kWideFfn), compute);
    Context prompt = speech.context(states_);
    AudioContext sound = speech.audio(features_);
    return speech(noise_, speech.clip(reference_, motion_, {}, frames_), 500, {&prompt}, {&sound})[0];
  };
  const Tensor exact = velocity(Precision::Exact, at::kFloat);
  for (at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    const double error = relative_rms(velocity(Precision::Balanced, compute), exact);
    EXPECT_GT(error, 1e-3);
    EXPECT_LT(error, 4e-2);
  }
}

TEST_F(SpeechTest, RefusesClipsThatDoNotFit) {
  SpeechModel speech = model();
  EXPECT_THROW(speech.clip(reference_, motion_, {}, 31), c10::Error);  // the reference image stands at 30
  EXPECT_THROW(speech.clip(reference_, at::randn({16, 20, 8, 16}), {}, 2), c10::Error);
  EXPECT_THROW(speech.clip(reference_, motion_, at::randn({16, 3, 8, 16}), 2), c10::Error);
  EXPECT_THROW(speech.clip(at::randn({16, 1, 4, 4}), at::randn({16, 19, 4, 4}), {}, 2), c10::Error);
  EXPECT_THROW(speech.audio(at::randn({kStates, kAudioDim, 6})), c10::Error);
  EXPECT_THROW(speech.audio(at::randn({kStates - 1, kAudioDim, 8})), c10::Error);
}

TEST(SpeechTokens, StandWhereTheReferencePutsThem) {
  // 448 x 832 pixels: 28 x 52 tokens a frame, 20 latent frames.
  Tensor later = speech_positions(20, 28, 52, true), first = speech_positions(20, 28, 52, false);
  EXPECT_EQ(first.size(0), 30576);
  EXPECT_EQ(later.size(0), 32760);
  EXPECT_TRUE(later.narrow(0, 0, 30576).equal(first));
  auto at_token = [&](int64_t token) {
    return std::vector<int64_t>(later[token].data_ptr<int64_t>(), later[token].data_ptr<int64_t>() + 3);
  };
  EXPECT_EQ(at_token(29119), (std::vector<int64_t>{19, 27, 51}));
  EXPECT_EQ(at_token(29120), (std::vector<int64_t>{30, 0, 0}));
  EXPECT_EQ(at_token(30576), (std::vector<int64_t>{-1, 0, 0}));
  EXPECT_EQ(at_token(30576 + 1456), (std::vector<int64_t>{-3, 0, 0}));
  EXPECT_EQ(at_token(30576 + 1456 + 363), (std::vector<int64_t>{-3, 27, 51}));
  EXPECT_EQ(at_token(30576 + 1456 + 364), (std::vector<int64_t>{-19, 0, 0}));
  EXPECT_EQ(at_token(32759), (std::vector<int64_t>{-4, 27, 51}));
  EXPECT_EQ(spread(12, 3), (std::vector<int64_t>{0, 5, 11}));
  EXPECT_EQ(spread(4, 1), (std::vector<int64_t>{0}));
}

TEST(SpeechConfig, RefusesVariantsThatWereNeverPublished) {
  TemporaryFolder folder;
  const nlohmann::json good = {{"model_type", "s2v"},
                               {"adain_mode", "attn_norm"},
                               {"framepack_drop_mode", "padd"},
                               {"enable_adain", true},
                               {"enable_framepack", true},
                               {"zero_timestep", true},
                               {"add_last_motion", true},
                               {"enable_motioner", false},
                               {"enable_tsm", false},
                               {"trainable_token_pos_emb", false},
                               {"dim", 256},
                               {"ffn_dim", 384},
                               {"freq_dim", 256},
                               {"in_dim", 16},
                               {"out_dim", 16},
                               {"num_heads", 2},
                               {"num_layers", 4},
                               {"text_len", 512},
                               {"eps", 1e-6},
                               {"cond_dim", 16},
                               {"audio_dim", 32},
                               {"num_audio_token", 4},
                               {"audio_inject_layers", {0, 2}}};
  auto read = [&](const nlohmann::json& json) {
    std::ofstream(folder / "config.json") << json;
    return SpeechConfig::read(folder / "config.json");
  };
  EXPECT_EQ(read(good).audio_inject_layers, (std::vector<int64_t>{0, 2}));
  const std::pair<const char*, nlohmann::json> bad[] = {{"model_type", "t2v"},
                                                        {"adain_mode", "none"},
                                                        {"enable_tsm", true},
                                                        {"zero_timestep", false},
                                                        {"audio_inject_layers", {0, 4}},
                                                        {"audio_inject_layers", {2, 0}},
                                                        {"audio_inject_layers", {1, 1}},
                                                        {"audio_inject_layers", {-1}},
                                                        {"audio_inject_layers", "all"},
                                                        {"audio_dim", 0},
                                                        {"num_audio_token", 1e9}};
  for (const auto& [key, value] : bad) {
    nlohmann::json json = good;
    json[key] = value;
    EXPECT_THROW(read(json), ModelError) << key << " = " << value;
    json.erase(key);
    EXPECT_THROW(read(json), ModelError) << "without " << key;
  }
}

}  // namespace
}  // namespace wan
