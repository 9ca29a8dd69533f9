// Whole runs from the stored noise: ids, schedule, every velocity and latent, and the decoded video.
#include <gtest/gtest.h>

#include "engine/job/conditioning.h"
#include "engine/job/image_task.h"
#include "engine/job/text_states.h"
#include "engine/job/video_task.h"
#include "engine/media/image_reader.h"
#include "engine/media/resize.h"
#include "engine/request/geometry.h"
#include "engine/request/params.h"
#include "engine/request/presets.h"
#include "engine/residency/open_network.h"
#include "engine/sampling/denoise.h"
#include "engine/sampling/guidance.h"
#include "engine/sampling/noise.h"
#include "tests/parity/case.h"
#include "tests/parts.h"
#include "tests/support.h"
#include "tests/support/job.h"

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
void expect_schedule(Case& golden, const Request& request, const Schedule& schedule) {
  std::vector<double> timesteps;
  std::vector<int64_t> high;
  for (const Step& step : schedule) {
    timesteps.push_back(step.t);
    high.push_back(step.high);
  }
  at::Tensor want = golden.input("timesteps");
  golden.expect("timesteps", at::tensor(timesteps, at::kDouble).to(want.scalar_type()));
  golden.expect("expert_is_high", at::tensor(high));
  golden.expect("sigmas",
                at::tensor(flow_sigmas(schedule.solver(), request.num_inference_steps, request.shift), at::kDouble)
                    .to(at::kFloat));
}

struct Velocities {
  std::vector<at::Tensor> cond, uncond, guided;

  /// Each branch by itself, as the golden file has them; guidance runs both through each block together.
  void add_branches(const WanModel& expert, const Conditioning& conditioning, const Step& step, at::Tensor x) {
    if (conditioning.image.defined()) x = at::cat({x, conditioning.image});
    Context positive = expert.context(conditioning.positive), negative = expert.context(conditioning.negative);
    kernels::Rope rope = expert.rope(x);
    cond.push_back(expert(x, rope, step.t, {&positive})[0]);
    uncond.push_back(expert(x, rope, step.t, {&negative})[0]);
  }
};

/// Image latents and mask, or the latent of the input video, from the stored pictures.
Encoded encode_inputs(Case& golden, Networks& models, const Request& request) {
  QuietRun quiet;
  Encoded encoded;
  if (request.task == Task::I2V) {
    at::Tensor rgb = golden.input("image_u8");
    std::string png = (golden.folder / "cases" / (golden.name + "_input.png")).string();
    if (std::filesystem::exists(png)) {
      EXPECT_TRUE(at::equal(read_image({png, "image_url"}), rgb)) << png;
    }
    Size size = size_by_area(rgb.size(1), rgb.size(0), golden.json["max_area"]);
    EXPECT_EQ(nlohmann::json({size.width, size.height}), golden.json["size_w_h"]) << golden.name;
    at::Tensor image = resize_bicubic(rgb, size.height, size.width);
    golden.expect("image_normalised_resized", image);
    encoded.conditioning.image = image_condition(models.vae(), image, {}, golden.json["frame_num"], quiet);
    golden.expect("y", encoded.conditioning.image);
    golden.expect("cond_latent", encoded.conditioning.image.narrow(0, 4, 16));
  }
  if (request.task == Task::V2V) {
    at::Tensor frames = golden.input("video_in_u8").permute({1, 2, 3, 0}).contiguous();
    encoded.clean = video_latent(models.vae(), frames, quiet);
    golden.expect("init_latent", encoded.clean);
  }
  return encoded;
}

void expect_cut(const Case& golden, const Schedule& schedule) {
  if (!golden.json.contains("kept_steps")) return;
  EXPECT_EQ(schedule.size(), golden.json["kept_steps"]) << golden.name;
  EXPECT_EQ(schedule[0].index, golden.json["t_start"]) << golden.name;
  EXPECT_EQ(schedule[0].sigma, golden.json["sigma_start"].get<float>()) << golden.name;
}

void run(Case& golden) {
  Request request = request_of(golden.json);
  Placement placement;
  Networks models(parts_of(golden.checkpoint(), request.task), placement, 0, Log{});
  std::string prompt = golden.json["prompt"], negative = golden.json["negative_prompt"];
  if (negative.empty()) negative = preset_value("reference", request.task, "negative_prompt").get<std::string>();
  text::Tokenizer tokenizer = open_tokenizer(models.parts());
  expect_ids(golden, "prompt_ids", tokenizer, prompt);
  expect_ids(golden, "negative_ids", tokenizer, negative);

  Encoded encoded = encode_inputs(golden, models, request);
  TextStates text(models);
  Conditioning& conditioning = encoded.conditioning;
  conditioning.positive = text(prompt);
  conditioning.negative = text(negative);
  golden.expect("context", conditioning.positive);
  golden.expect("context_null", conditioning.negative);

  const Schedule schedule = make_schedule(request);
  expect_schedule(golden, request, schedule);
  expect_cut(golden, schedule);
  at::Tensor noise = golden.input("noise");
  // log, cos and sin differ by an ulp or two between libraries
  EXPECT_TRUE(is_close(Noise(golden.json["seed"], at::kCPU).draw(noise.sizes()), noise, 1e-6))
      << golden.name << ": noise";
  Sampling state = begin_sampling(schedule, noised(noise, encoded.clean, schedule));
  std::vector<at::Tensor> latents = {state.x};
  Velocities velocities;
  Guidance guidance(models, conditioning);
  QuietRun quiet;
  denoise(
      state, schedule, schedule.size(),
      [&](const Step& step, const at::Tensor& x) {
        velocities.add_branches(models.expert(step.high), conditioning, step, x);
        const Velocity velocity = guidance(step, x);
        velocities.guided.push_back(kernels::guided(velocity));
        return velocity;
      },
      quiet, [&](const Sampling& now) { latents.push_back(now.x); });
  golden.expect("noise_pred_cond", at::stack(velocities.cond));
  golden.expect("noise_pred_uncond", at::stack(velocities.uncond));
  golden.expect("noise_pred", at::stack(velocities.guided));
  golden.expect("latents", at::stack(latents));
  golden.expect("video", vae::decode(models.vae().decoder, state.x));
}

bool takes(const Case& golden) {
  std::string task = golden.json.value("task", "");
  return task == "t2v" || task == "i2v" || task == "v2v";
}

}  // namespace

const Handler kEndToEnd = {"end to end", takes, run};

}  // namespace wan::parity
