// Whole runs from the stored noise: ids, schedule, every velocity and latent, and the decoded video.
#include <gtest/gtest.h>

#include "engine/denoise.h"
#include "engine/guidance.h"
#include "engine/request/params.h"
#include "engine/job/text_states.h"
#include "tests/parity/case.h"
#include "tests/support.h"

namespace wan::parity {
namespace {

Request request_of(const nlohmann::json& json) {
  Request request;
  request.task = json["task"] == "v2v" ? Task::V2V : json["task"] == "i2v" ? Task::I2V : Task::T2V;
  request.solver = json["solver"];
  request.num_inference_steps = json["steps"];
  request.shift = json["shift"];
  request.guidance_scale_2 = json["guide_scale_low_high"][0];
  request.guidance_scale = json["guide_scale_low_high"][1];
  request.boundary = json["boundary"];
  request.strength = json.value("strength", 1.0);
  return request;
}

void expect_ids(const Case& golden, const char* key, const text::Tokenizer& tokenizer, const std::string& prompt) {
  if (!golden.json.contains(key)) return;
  EXPECT_EQ(tokenizer.encode(prompt), golden.json[key].get<std::vector<int64_t>>()) << golden.name << ": " << key;
}

/// The table of steps: timesteps, sigmas of the whole schedule, experts.
void expect_schedule(Case& golden, const Request& request, const std::vector<Step>& schedule) {
  std::vector<double> timesteps;
  std::vector<int64_t> high;
  for (const Step& step : schedule) {
    timesteps.push_back(step.t);
    high.push_back(step.high);
  }
  at::Tensor want = golden.input("timesteps");
  golden.expect("timesteps", at::tensor(timesteps, at::kDouble).to(want.scalar_type()));
  golden.expect("expert_is_high", at::tensor(high));
  golden.expect("sigmas", at::tensor(flow_sigmas(request.solver, request.num_inference_steps, request.shift), at::kDouble).to(at::kFloat));
}

struct Velocities {
  std::vector<at::Tensor> cond, uncond, guided;

  /// Each branch by itself, as the golden file has them; guidance runs both through each block together.
  void add_branches(const WanModel& expert, const Conditioning& conditioning, const Step& step, const at::Tensor& x) {
    Context positive = expert.context(conditioning.positive), negative = expert.context(conditioning.negative);
    kernels::Rope rope = expert.rope(x);
    cond.push_back(expert(x, rope, step.t, {&positive})[0]);
    uncond.push_back(expert(x, rope, step.t, {&negative})[0]);
  }
};

void run(Case& golden) {
  Request request = request_of(golden.json);
  Models models(open_model_folder(golden.checkpoint(), request.task), Target{}, 0, Log{});
  std::string prompt = golden.json["prompt"], negative = golden.json["negative_prompt"];
  if (negative.empty()) negative = find_parameter("negative_prompt")->accepts(request.task)->reference;
  text::Tokenizer tokenizer = text::Tokenizer::open(models.folder().tokenizer);
  expect_ids(golden, "prompt_ids", tokenizer, prompt);
  expect_ids(golden, "negative_ids", tokenizer, negative);

  TextStates text(models);
  Conditioning conditioning{.positive = text(prompt), .negative = text(negative), .image = {}};
  golden.expect("context", conditioning.positive);
  golden.expect("context_null", conditioning.negative);

  std::vector<Step> schedule = make_schedule(request);
  expect_schedule(golden, request, schedule);
  at::Tensor noise = golden.input("noise");
  // log, cos and sin differ by an ulp or two between libraries
  EXPECT_TRUE(is_close(Noise(golden.json["seed"], at::kCPU).draw(noise.sizes()), noise, 1e-6)) << golden.name << ": noise";
  Sampling state = begin_sampling(request.solver, schedule, noise);
  std::vector<at::Tensor> latents = {state.x};
  Velocities velocities;
  Guidance guidance(models, conditioning);
  struct Silent : Progress {
    void at(const Report&) override {}
  } silent;
  denoise(state, schedule, int64_t(schedule.size()),
          [&](const Step& step, const at::Tensor& x) {
            velocities.add_branches(models.expert(step.high), conditioning, step, x);
            return velocities.guided.emplace_back(guidance(step, x));
          },
          silent, "", [&](const Sampling& now) { latents.push_back(now.x); });
  golden.expect("noise_pred_cond", at::stack(velocities.cond));
  golden.expect("noise_pred_uncond", at::stack(velocities.uncond));
  golden.expect("noise_pred", at::stack(velocities.guided));
  golden.expect("latents", at::stack(latents));
  golden.expect("video", vae::decode(models.vae().decoder, state.x));
}

}  // namespace

const Handler kEndToEnd = {"end to end", [](const Case& golden) { return golden.json.value("task", "") == "t2v"; }, run};

}  // namespace wan::parity
