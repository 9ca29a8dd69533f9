// Golden cases of the VAE, both ways: every stored clip, latent and intermediate of every run, and how far fewer bits
// are from them.
#include "models/vae/vae.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "tests/parity/case.h"
#include "tests/parity/device.h"

namespace wan::parity {
namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool all_runs(const Case& golden, const char* input, const char* output) {
  const auto runs = golden.json.find("runs");
  if (runs == golden.json.end() || !runs->is_array() || runs->empty()) return false;
  for (const nlohmann::json& run : *runs)
    if (!ends_with(run.value("input", ""), input) || !ends_with(run.value("output", ""), output)) return false;
  return true;
}

bool encodes(const Case& golden) {
  return all_runs(golden, ".video_u8", ".latent");
}
bool decodes(const Case& golden) {
  return all_runs(golden, ".latent", ".video");
}

at::Tensor channels_first(const at::Tensor& clip) {
  return clip.permute({3, 0, 1, 2});
}

/// Compares what lies under `<run>.chunk<k>.<name>`; the stored name may add the layer's kind: `middle1_attn`.
class Recorder {
 public:
  Recorder(Case& golden, std::string run) : golden_(golden), run_(std::move(run)) {}
  void operator()(std::string_view name, const at::Tensor& clip) {
    if (name == "conv2") all_[0].push_back(channels_first(clip));
    if (name == "head") all_[1].push_back(channels_first(clip));
    const std::string prefix = run_ + ".chunk" + std::to_string(chunk_) + "." + std::string(name);
    for (auto found = golden_.tensors.lower_bound(prefix);
         found != golden_.tensors.end() && found->first.rfind(prefix, 0) == 0; ++found)
      if (found->first.size() == prefix.size() || found->first[prefix.size()] == '_')
        golden_.expect(found->first, channels_first(clip));
  }
  void next_chunk() { ++chunk_; }
  /// What is stored for the whole clip: the decoder's input after conv2, and its output before the clamp.
  void whole_clip() {
    if (!all_[0].empty()) golden_.expect(run_ + ".conv2", at::cat(all_[0], 1));
    golden_.expect(run_ + ".raw", at::cat(all_[1], 1));
  }

 private:
  Case& golden_;
  std::string run_;
  int chunk_ = 0;
  std::vector<at::Tensor> all_[2];
};

at::Tensor run_encoder(const vae::Encoder& encoder, const at::Tensor& video_u8, Recorder& record) {
  const at::Tensor video = video_u8.to(at::kFloat) / 255 * 2 - 1;
  vae::EncoderStream stream(encoder, std::ref(record));
  std::vector<at::Tensor> latents;
  for (int64_t frame = 0, count = 1; frame < video.size(1); frame += count, count = 4, record.next_chunk())
    latents.push_back(stream.next(video.narrow(1, frame, frame ? 4 : 1)));
  return at::cat(latents, 1);
}

at::Tensor run_decoder(const vae::Decoder& decoder, const at::Tensor& latent, Recorder& record) {
  vae::DecoderStream stream(decoder, std::ref(record));
  std::vector<at::Tensor> frames;
  for (int64_t t = 0; t < latent.size(1); ++t, record.next_chunk())
    frames.push_back(stream.next(latent.narrow(1, t, 1)));
  return at::cat(frames, 1);
}

at::Tensor rounded(const Case& golden, const nlohmann::json& run, const Setting& setting, const at::Tensor& input) {
  Weights weights(Checkpoint::open(golden.checkpoint() / "Wan2.1_VAE.pth"), Place::on(setting.device, setting.compute));
  const vae::Vae model(weights, {.dtype = setting.compute});
  const at::Tensor there = input.to(setting.device);
  const at::Tensor got = encodes(golden) ? vae::encode(model.encoder, there.to(at::kFloat) / 255 * 2 - 1)
                                         : vae::decode(model.decoder, there);
  EXPECT_TRUE(got.isfinite().all().item<bool>()) << run.at("id") << " in " << setting.name;
  return got.cpu();
}

/// Ratio of the range [-1, 1] to the error, and for latents of their own size to it, in decibel.
double decibel(const at::Tensor& got, const at::Tensor& want, bool latents) {
  const double range = latents ? want.square().mean().item<double>() : 4;
  return 10 * std::log10(range / (got - want).square().mean().item<double>());
}

/// Fewer bits. Decoding keeps 50 dB in half and 42 in bf16; a network of random weights may amplify its rounding
/// beyond that, so the same rounding on the CPU is asked as well. Half has three bits more, which are 18 dB: 8 of them
/// are wanted of a clip, 3 of a latent, where one pixel whose norm nearly vanishes can decide.
void run_rounded(Case& golden, const nlohmann::json& run) {
  const at::Tensor input = golden.input(run.at("input")), want = golden.input(run.at("output"));
  const auto measure = [&](at::Device device, at::ScalarType dtype, const char* name) {
    const double found = decibel(rounded(golden, run, {device, dtype, name}, input), want, encodes(golden));
    std::cout << "  " << run.at("id") << " in " << name << ": " << found << " dB" << std::endl;
    return found;
  };
  const double half = measure(at::kCPU, at::kHalf, "half"), bf16 = measure(at::kCPU, at::kBFloat16, "bf16");
  EXPECT_GE(half, bf16 + (encodes(golden) ? 3 : 8)) << run.at("id");
  if (!at::globalContext().hasCUDA()) return;
  const at::Device card(at::kCUDA, 0);
  EXPECT_GE(measure(card, at::kHalf, "half on CUDA"), std::min(50., half - 3)) << run.at("id");
  EXPECT_GE(measure(card, at::kBFloat16, "bf16 on CUDA"), std::min(42., bf16 - 3)) << run.at("id");
}

void run(Case& golden) {
  Weights weights(Checkpoint::open(golden.checkpoint() / "Wan2.1_VAE.pth"));
  const vae::Vae model(weights);
  weights.finish();
  for (const nlohmann::json& run : golden.json.at("runs")) {
    Recorder record(golden, run.at("id"));
    const at::Tensor input = golden.input(run.at("input"));
    golden.expect(run.at("output"), encodes(golden) ? run_encoder(model.encoder, input, record)
                                                    : run_decoder(model.decoder, input, record));
    record.whole_clip();
    run_rounded(golden, run);
  }
}

}  // namespace

const Handler kVae = {"vae", [](const Case& golden) { return encodes(golden) || decodes(golden); }, run};

}  // namespace wan::parity
