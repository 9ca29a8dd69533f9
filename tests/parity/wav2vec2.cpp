// Wav2Vec2 and the clock between sound and frames: every stage from 16 kHz samples to the features of video frames.
#include "models/wav2vec2/model.h"

#include <gtest/gtest.h>

#include "engine/speech/clock.h"
#include "engine/speech/features.h"
#include "engine/speech/waveform.h"
#include "tests/parity/case.h"

namespace wan::parity {
namespace {

using at::Tensor;

Tensor as_tensor(const std::vector<int64_t>& index) {
  return at::tensor(index).to(at::kInt);
}

/// The stages of the encoder on samples that are normalised.
void check_encoder(Case& golden, const Wav2Vec2& encoder, const Tensor& samples) {
  Tensor conv = encoder.conv_features(samples);
  golden.expect("conv_features", conv.t().unsqueeze(0));
  golden.expect("feature_projection", encoder.feature_projection(conv).unsqueeze(0));
  std::vector<Tensor> states;
  Tensor unnormalised;
  encoder.hidden_states(
      samples, [&](int64_t, const Tensor& state) { states.push_back(state.clone()); }, &unnormalised);
  golden.expect("layer24_unnormalised", unnormalised);
  golden.expect("hidden_states", at::stack(states));
  std::vector<Tensor> some;
  for (int64_t index : golden.json.value("hidden_states_some_index", std::vector<int64_t>()))
    some.push_back(states[index]);
  if (!some.empty()) golden.expect("hidden_states_some", at::stack(some));
}

/// Keys of `buckets` read fps<fps>_b<frames of a clip>.
void check_buckets(Case& golden, SpeechFeatures& features) {
  for (const auto& [key, bucket] : golden.json["buckets"].items()) {
    const size_t cut = key.find("_b");
    const int64_t fps = std::stoll(key.substr(3, cut - 3)), clip_frames = std::stoll(key.substr(cut + 2));
    std::vector<Clip> clips = reference_clips(features.frames(), fps, clip_frames);
    const int64_t frames = clips.back().start + clips.back().frames;
    EXPECT_EQ(int64_t(clips.size()), bucket["num_repeat"]) << key;
    EXPECT_EQ(frames, bucket["frames"]) << key;
    std::vector<int64_t> index = feature_index(features.frames(), fps, frames);
    golden.expect("bucket_index." + key, as_tensor(index));
    if (golden.has("audio_embed." + key)) golden.expect("audio_embed." + key, features.at(index).unsqueeze(0));
  }
}

/// The sound file of the case, resampled.
Waveform waveform(Case& golden) {
  return open_waveform({(golden.folder / "cases" / golden.json.at("wav")).string(), "audio_url"});
}

void check_resampling(Case& golden) {
  const Waveform wave = waveform(golden);
  EXPECT_EQ(wave.samples, golden.json.at("frames_16k"));
  golden.expect("waveform_16k", wave.read(0, wave.samples));
}

void run_encoder(Case& golden) {
  check_resampling(golden);
  const std::filesystem::path folder = golden.checkpoint();
  for (const char* file : {"model.safetensors", "pytorch_model.bin"}) {
    SCOPED_TRACE(file);
    if (!std::filesystem::exists(folder / file)) continue;
    Weights weights(Checkpoint::open(folder / file));
    const Wav2Vec2 encoder(weights, Wav2Vec2Config::read(folder / "config.json"));
    weights.finish();
    const Tensor sound = golden.input("waveform_16k");
    SampleStatistics statistics;
    statistics.add(sound);
    const Tensor samples = statistics.normalise(sound);
    golden.expect("input_values", samples.unsqueeze(0));
    check_encoder(golden, encoder, samples);
    SpeechFeatures features(encoder, waveform(golden));
    EXPECT_EQ(encoder.config().frames(sound.size(0)), golden.json["feat_50fps_frames"]);
    EXPECT_EQ(features.frames(), golden.json["feat_30fps_frames"]);
    std::vector<int64_t> all(features.frames());
    for (size_t j = 0; j < all.size(); ++j) all[j] = int64_t(j);
    golden.expect("feat_30fps", features.at(all).transpose(1, 2));
    check_buckets(golden, features);
  }
}

void run_bucket_table(Case& golden) {
  const Tensor flat = golden.input(golden.tensors.begin()->first);
  for (const nlohmann::json& row : golden.json["rows"]) {
    if (row.contains("error")) continue;  // above 30 frames a second the reference fails
    const int64_t frames_30 = row["n_30fps"], fps = row["fps"], clip_frames = row["batch_frames"];
    std::vector<Clip> clips = reference_clips(frames_30, fps, clip_frames);
    EXPECT_EQ(int64_t(clips.size()), row["num_repeat"]) << row["key"];
    Tensor index = as_tensor(feature_index(frames_30, fps, int64_t(clips.size()) * clip_frames));
    EXPECT_TRUE(at::equal(index, flat.narrow(0, row["offset"], row["length"]).to(at::kInt))) << row["key"];
  }
}

bool takes_encoder(const Case& golden) {
  return golden.has("input_values") && golden.has("conv_features");
}
bool takes_resampling(const Case& golden) {
  return golden.has("waveform_16k") && !golden.has("input_values");
}
bool takes_bucket_table(const Case& golden) {
  auto rows = golden.json.find("rows");
  return rows != golden.json.end() && rows->is_array() && !rows->empty() && rows->front().contains("n_30fps");
}

}  // namespace

const Handler kWav2Vec2 = {"wav2vec2", takes_encoder, run_encoder};
const Handler kResampling = {"resampling", takes_resampling, check_resampling};
const Handler kSpeechClock = {"speech clock", takes_bucket_table, run_bucket_table};

}  // namespace wan::parity
