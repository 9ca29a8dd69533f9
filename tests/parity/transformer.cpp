// The diffusion transformer: every intermediate and output in float32 and float64, the outputs in bf16 as well.
#include <gtest/gtest.h>

#include "models/wan/model.h"
#include "tests/parity/case.h"
#include "tests/parity/device.h"

namespace wan::parity {
namespace {

using at::Tensor;

/// One entry of `runs`.
struct Run {
  Run(Case& golden, const nlohmann::json& json)
      : id(json.at("id")), expert(json.at("expert")), output(json.at("output")), t(json.at("timestep")) {
    latent = golden.input(json.at("x"));
    if (json.contains("y") && json["y"].is_string()) latent = at::cat({latent, golden.input(json["y"])});
    states = golden.input(json.at("context"));
  }
  std::string id, expert, output;
  double t;
  Tensor latent, states;
};

/// The block's sub-layers one by one, each against its stored output.
void check_sub_layers(Case& golden, const std::string& prefix, const WanModel& model, int64_t i, Tensor x,
                      const Pass& pass, const KeyValue& text) {
  const AttentionBlock& block = model.blocks[i];
  Modulation rows = block.modulate(pass.time.e0);
  Tensor h = kernels::modulated_layer_norm(x, rows.shift_attn, rows.scale_attn, pass.ends, block.eps, block.compute);
  std::vector<Tensor> products = block.self_attn.qkv(h);
  const SelfAttention& self = block.self_attn;
  auto [query, key] = kernels::qk_norm_rope(products[0], products[1], self.norm_q.weight.tensor(),
                                            self.norm_k.weight.tensor(), pass.rope, self.heads, self.norm_q.eps);
  golden.expect(prefix + "self_q_normed", self.norm_q(products[0])[0]);
  golden.expect(prefix + "self_q_roped", query[0]);
  golden.expect(prefix + "self_k_roped", key[0]);
  Tensor y = self(h, pass.rope);
  golden.expect(prefix + "self_attn", y[0]);
  kernels::gated_residual_(x, y, rows.gate_attn, pass.ends);
  y = block.cross_attn(block.norm3(x, block.compute), text);
  golden.expect(prefix + "cross_attn", y[0]);
  kernels::gated_residual_(x, y, {}, pass.ends);
  y = block.ffn(kernels::modulated_layer_norm(x, rows.shift_ffn, rows.scale_ffn, pass.ends, block.eps, block.compute));
  golden.expect(prefix + "ffn", y[0]);
}

void check_intermediates(Case& golden, const Run& run, const WanModel& model) {
  const std::string prefix = run.id + ".";
  Context context = model.context(run.states);
  Pass pass = model.begin(model.rope(run.latent), run.t);
  std::vector<Branch> branch{{model.embed(run.latent), &context}};
  Tensor& x = branch[0].x;
  golden.expect(prefix + "patch_embedding", x[0]);
  golden.expect(prefix + "time_embedding_e", pass.time.e[0]);
  golden.expect(prefix + "time_projection_e0", pass.time.e0.select(1, 0));
  int64_t rows = std::min(run.states.size(0) + 2, context.text.size(1));  // the real ones and two of the padding
  golden.expect(prefix + "text_embedding", context.text[0].narrow(0, 0, rows));
  for (int64_t i = 0; i < model.config.num_layers; ++i) {
    std::string block = prefix + "block" + std::to_string(i) + "_";
    check_sub_layers(golden, block, model, i, x.clone(), pass, model.blocks[i].cross_attn.key_value(context.text));
    model.block(i, branch, pass);
    golden.expect(block + "out", x[0]);
  }
  golden.expect(prefix + "last_block_out", x[0]);
  golden.expect(prefix + "head_out", model.head(x, pass.time.e, pass.ends)[0]);
}

/// The call as the sampler makes it, here with the same prompt in both guidance branches: they must not disturb each
/// other.
Tensor velocity(const WanModel& model, const Run& run) {
  Tensor latent = run.latent.to(model.device()), states = run.states.to(model.device());
  Context prompt = model.context(states), negative = model.context(states);
  std::vector<Tensor> both = model(latent, model.rope(latent), run.t, {&prompt, &negative});
  EXPECT_TRUE(both[0].equal(both[1])) << run.id;
  return both[0];
}

void run_case(Case& golden) {
  std::map<std::string, WanModel> experts;
  auto expert = [&](const Run& run, const Setting& setting) -> const WanModel& {
    std::string key = run.expert + setting.name;
    if (auto found = experts.find(key); found != experts.end()) return found->second;
    std::filesystem::path folder = golden.checkpoint() / run.expert;
    return experts.emplace(key, build<WanModel>(folder, setting, WanConfig::read(folder / "config.json")))
        .first->second;
  };
  for (const nlohmann::json& json : golden.json["runs"]) {
    Run run(golden, json);
    for (const Setting& setting : exact_settings()) {
      SCOPED_TRACE(setting.name);
      golden.expect(run.output, velocity(expert(run, setting), run));
      check_intermediates(golden, run, expert(run, setting));
    }
    for (const Setting& setting : rounded_settings()) {
      SCOPED_TRACE(setting.name);
      golden.expect_bf16(run.output, velocity(expert(run, setting), run));
    }
  }
}

bool takes(const Case& golden) {
  auto runs = golden.json.find("runs");
  return runs != golden.json.end() && runs->is_array() && !runs->empty() && runs->front().contains("expert");
}

}  // namespace

const Handler kTransformer = {"transformer", takes, run_case};

}  // namespace wan::parity
