// The speech-to-video transformer: outputs with and without motion, pose and sound, and what happens on the way.
#include <gtest/gtest.h>

#include "models/wan_s2v/model.h"
#include "tests/parity/case.h"
#include "tests/parity/device.h"

namespace wan::parity {
namespace {

using at::Tensor;

SpeechModel speech_model(const Case& golden, const Setting& setting) {
  const std::filesystem::path folder = golden.checkpoint();
  return build<SpeechModel>(folder, setting, SpeechConfig::read(folder / "config.json"));
}

/// cos and sin of every pair, as the reference stores them: [L, pairs, 2].
Tensor cos_sin(const Rope& rope) {
  return at::stack({rope.cos, rope.sin}, -1);
}

/// One call of the model, described by the name of its output: out.<first|later>.<nopose|pose>.t<T>[.audio0].
struct Call {
  Call(Case& golden, const std::string& output) : output(output) {
    std::istringstream parts(output);
    std::string part;
    for (std::getline(parts, part, '.'); std::getline(parts, part, '.');) {
      if (part == "later") motion = golden.input("in.motion_latents")[0];
      if (part == "pose") pose = golden.input("in.pose_latents")[0];
      if (part == "audio0") silent = true;
      if (part[0] == 't') t = std::stod(part.substr(1));
    }
    noise = golden.input("in.noise");
    reference = golden.input("in.ref_latents")[0];
    features = golden.input("in.audio_input")[0];
    states = golden.input("in.context");
    if (silent) features = at::zeros_like(features);
  }

  Tensor on(const SpeechModel& model, const Tensor& x) const { return x.defined() ? x.to(model.device()) : x; }
  SpeechClip clip(const SpeechModel& model) const {
    return model.clip(on(model, reference), on(model, motion), on(model, pose), noise.size(1));
  }
  /// As the sampler calls it, here with a second branch that is silent: it must not disturb the first.
  Tensor velocity(const SpeechModel& model) const {
    Context prompt = model.context(on(model, states)), negative = model.context(on(model, states));
    AudioContext sound = model.audio(on(model, features)), silence = model.audio(on(model, at::zeros_like(features)));
    std::vector<Tensor> both = model(on(model, noise), clip(model), t, {&prompt, &negative}, {&sound, &silence});
    EXPECT_EQ(both[0].equal(both[1]), silent) << output;
    return both[0];
  }

  std::string output;
  double t = 0;
  bool silent = false;
  Tensor noise, reference, motion, pose, features, states;
};

void check_inputs(Case& golden, const std::string& prefix, const Call& call, const SpeechModel& model, const Pass& pass,
                  const Tensor& x, const Context& context) {
  const auto& patch = WanConfig::kPatch;
  Tensor positions = speech_positions(call.noise.size(1), call.noise.size(2) / patch[1], call.noise.size(3) / patch[2],
                                      call.motion.defined());
  golden.expect(prefix + "rope_pos", positions.to(at::kInt));
  golden.expect(prefix + "rope_cos_sin", cos_sin(pass.rope));
  golden.expect(prefix + "tokens_in", x[0]);
  golden.expect(prefix + "time_mod", pass.time.e0);
  golden.expect(prefix + "head_time", pass.time.e[0]);
  const std::string text = prefix + "text_ctx_head";
  if (golden.has(text)) golden.expect(text, context.text[0].narrow(0, 0, golden.tensors.at(text).size(0)));
  AudioTokens audio = model.casual_audio_encoder(call.features);
  const int64_t frames = call.noise.size(1);
  golden.expect(prefix + "audio_tokens", audio.local.narrow(0, kMotionLatents, frames));
  golden.expect(prefix + "audio_global", audio.global.narrow(0, kMotionLatents, frames).unsqueeze(1));
}

void check_intermediates(Case& golden, const std::string& prefix, const Call& call, const SpeechModel& model) {
  Context context = model.context(call.states);
  AudioContext sound = model.audio(call.features);
  SpeechClip clip = call.clip(model);
  Pass pass = model.begin(clip, call.t);
  std::vector<Branch> branch{{model.embed(call.noise, clip), &context}};
  Tensor& x = branch[0].x;
  check_inputs(golden, prefix, call, model, pass, x, context);
  for (int64_t i = 0; i < model.config.wan.num_layers; ++i) {
    const std::string number = std::to_string(i);
    std::vector<Branch> before{{x.clone(), &context}};
    run_block(model.blocks[i], i, before, pass);
    golden.expect(prefix + "block" + number, before[0].x[0]);
    const auto& layers = model.config.audio_inject_layers;
    if (auto layer = std::find(layers.begin(), layers.end(), i); layer != layers.end()) {
      const size_t j = layer - layers.begin();
      Tensor modulated = model.injectors[j].adain(before[0].x.narrow(1, 0, pass.ends[0]), sound[j]);
      golden.expect(prefix + "adain" + number, modulated);
      golden.expect(prefix + "inject" + number, model.injectors[j].attend(modulated, sound[j]));
    }
    model.block(i, branch, {&sound}, pass);
    golden.expect(prefix + "after" + number, x[0]);
  }
  golden.expect(prefix + "last", x[0]);
}

void run_transformer(Case& golden) {
  auto each_output = [&](const auto& check) {
    for (const auto& [output, value] : golden.tensors)
      if (output.starts_with("out.")) check(Call(golden, output));
  };
  for (const Setting& setting : exact_settings()) {
    SCOPED_TRACE(setting.name);
    const SpeechModel model = speech_model(golden, setting);
    each_output([&](const Call& call) { golden.expect(call.output, call.velocity(model)); });
    for (const auto& [run, description] : golden.json["mid_runs"].items())
      check_intermediates(golden, "mid." + run + ".", Call(golden, description["output"]), model);
  }
  for (const Setting& setting : rounded_settings()) {
    SCOPED_TRACE(setting.name);
    const SpeechModel model = speech_model(golden, setting);
    each_output([&](const Call& call) { golden.expect_bf16(call.output, call.velocity(model)); });
  }
}

void run_audio_tokens(Case& golden) {
  for (const Setting& setting : exact_settings()) {
    SCOPED_TRACE(setting.name);
    const SpeechModel model = speech_model(golden, setting);
    auto check = [&](const std::string& prefix, const Tensor& features, int64_t dropped) {
      AudioTokens tokens = model.casual_audio_encoder(features);
      const int64_t frames = tokens.local.size(0) - dropped;
      golden.expect(prefix + "global", tokens.global.narrow(0, dropped, frames).unsqueeze(1));
      golden.expect(prefix + "local", tokens.local.narrow(0, dropped, frames));
      golden.expect(prefix + "layer_mix", model.casual_audio_encoder.mix(features));
    };
    Tensor some;
    for (const auto& [name, value] : std::map(golden.tensors)) {
      if (!name.ends_with(".in")) continue;
      some = golden.input(name)[0];
      check(name.substr(0, name.size() - 2), some, 0);
    }
    // Silence, as the unconditional branch sees it; the case stores it without the motion's latents.
    if (golden.has("zero.local"))
      check("zero.", at::zeros({some.size(0), some.size(1), 4 * golden.tensors.at("zero.local").size(0)}),
            kMotionLatents);
  }
}

void run_motion_tokens(Case& golden) {
  const Tensor motion = golden.input("in")[0];
  const int64_t rows = motion.size(2) / WanConfig::kPatch[1], columns = motion.size(3) / WanConfig::kPatch[2];
  for (const Setting& setting : exact_settings()) {
    SCOPED_TRACE(setting.name);
    const SpeechModel model = speech_model(golden, setting);
    golden.expect("tokens", model.frame_packer(motion)[0]);
    if (golden.has("in_short")) golden.expect("tokens_short", model.frame_packer(golden.input("in_short")[0])[0]);
    Tensor positions = motion_positions(rows, columns);
    golden.expect("rope_pos", positions.to(at::kInt));
    golden.expect("rope_cos_sin", cos_sin(kernels::make_rope(positions, model.config.wan.head_dim(), at::kCPU)));
    // The reference's add_last_motion below 2, which its pipeline never uses, blanks the newest latents.
    for (int64_t kept : {0, 1}) {
      Tensor blanked = motion.clone();
      blanked.narrow(1, kept == 0 ? 16 : 18, kept == 0 ? 3 : 1).zero_();
      golden.expect("tokens_add_last_motion" + std::to_string(kept), model.frame_packer(blanked)[0]);
    }
  }
}

void run_spread(Case& golden) {
  for (const nlohmann::json& row : golden.json["rows"]) {
    const int64_t fine = row["patch_rows"];
    EXPECT_EQ(spread(fine, fine / 2), row["index_2x"].get<std::vector<int64_t>>()) << fine;
    EXPECT_EQ(spread(fine, fine / 4), row["index_4x"].get<std::vector<int64_t>>()) << fine;
  }
}

bool takes_transformer(const Case& golden) {
  return golden.json.contains("mid_runs") && golden.has("in.motion_latents");
}
bool takes_audio_tokens(const Case& golden) {
  return golden.has("zero.local") || golden.has("c0.local");
}
bool takes_motion_tokens(const Case& golden) {
  return golden.has("in") && golden.has("tokens_short");
}
bool takes_spread(const Case& golden) {
  auto rows = golden.json.find("rows");
  return rows != golden.json.end() && rows->is_array() && !rows->empty() && rows->front().contains("index_2x");
}

}  // namespace

const Handler kSpeechTransformer = {"speech transformer", takes_transformer, run_transformer};
const Handler kSpeechAudioTokens = {"speech audio tokens", takes_audio_tokens, run_audio_tokens};
const Handler kSpeechMotionTokens = {"speech motion tokens", takes_motion_tokens, run_motion_tokens};
const Handler kSpeechSpread = {"speech rope index", takes_spread, run_spread};

}  // namespace wan::parity
