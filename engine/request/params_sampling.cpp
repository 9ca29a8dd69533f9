// Rows of the table of parameters: noise, steps, guidance and solver.
#include "engine/request/params_rows.h"

namespace wan::rows {

using enum Task;

namespace {

constexpr Range kHostedSteps = {2, 40}, kSteps = {1, 1000};
constexpr Range kHostedScale = {1, 10}, kGuidance = {0, 50}, kShift = {0, 1000, 1, true};
constexpr Range kUnit = {0, 1}, kLambda = {0, 1, 1, false, true};
constexpr Range kDense = {0, 1000};

}  // namespace

std::vector<Parameter> of_sampling() {
  return {
      {.name = "seed",
       .field = &Request::seed,
       .tasks = every({nullptr, {0, 0x1p64}, {0, 0x1p64}}),
       .group = "Sampling",
       .help = "Seed of the noise, as torch's generator takes it; drawn where it is absent or -1.",
       .metavar = "N",
       .nullable = true,
       .given = &Request::seed_given},
      {.name = "num_inference_steps",
       .field = &Request::num_inference_steps,
       .tasks = every({27, kHostedSteps, kSteps}),
       .group = "Sampling",
       .help = "Number of denoising steps.",
       .metavar = "N"},
      {.name = "guidance_scale",
       .field = &Request::guidance_scale,
       .tasks = every({3.5, kHostedScale, kGuidance}),
       .group = "Sampling",
       .help = "Classifier-free guidance; where there are two experts, of the first, high-noise one.",
       .metavar = "X"},
      {.name = "guidance_scale_2",
       .field = &Request::guidance_scale_2,
       .tasks = {{T2V, {4.0, kHostedScale, kGuidance}},
                 {I2V, {3.5, kHostedScale, kGuidance}},
                 {V2V, {4.0, kHostedScale, kGuidance}}},
       .group = "Sampling",
       .help = "Classifier-free guidance of the second, low-noise expert.",
       .metavar = "X"},
      {.name = "guidance_until",
       .field = &Request::guidance_until,
       .tasks = every({0.0, kUnit, kUnit}),
       .group = "Sampling",
       .unit = "of t / 1000",
       .help = "Guidance works while t is at or above it; below, a step is one pass without. 0: always.",
       .metavar = "X"},
      {.name = "guidance_interval",
       .field = &Request::guidance_interval,
       .tasks = every({.value = "0:1"}),
       .group = "Sampling",
       .help = "Guidance works in steps from a noise level above A, up to B; outside, a step is one pass without. "
               "0:1, the default: always.",
       .metavar = "A:B"},
      {.name = "shift",
       .field = &Request::shift,
       .tasks = every({5.0, kHostedScale, kShift}),
       .group = "Sampling",
       .help = "Shift of the noise schedule: higher stays longer at high noise.",
       .metavar = "X"},
      {.name = "boundary",
       .field = &Request::boundary,
       .tasks = {{T2V, {0.875, kUnit, kUnit}}, {I2V, {0.9, kUnit, kUnit}}, {V2V, {0.875, kUnit, kUnit}}},
       .group = "Sampling",
       .unit = "of t / 1000",
       .help = "The high-noise expert works while t is at or above it.",
       .metavar = "X"},
      {.name = "strength",
       .field = &Request::strength,
       .tasks = each({V2V}, {0.9, kUnit, kUnit}),
       .group = "Sampling",
       .help = "How far the result may leave the input: 0 keeps it, 1 follows only the prompt.",
       .metavar = "X"},
      {.name = "solver",
       .field = &Request::solver,
       .tasks = every({.value = "unipc", .words = {"unipc", "dpm++", "euler", "step_distill"}}),
       .group = "Sampling",
       .help = "How the flow is integrated. step_distill predicts the clean video and adds fresh noise, as models that "
               "are distilled "
               "for it want; elsewhere it is called lcm."},
      {.name = "skip_softmax",
       .field = &Request::skip_softmax,
       .tasks = every({0.0, kLambda, kLambda}),
       .group = "Sampling",
       .help = "Skip-Softmax: self-attention leaves out blocks of keys whose largest logit lies below the largest so "
               "far by more than -ln X. A higher X leaves out more; 0: off, and the same bytes as without. Only our "
               "own attention does it, which is then taken. Not measured on a GPU yet.",
       .metavar = "X"},
      {.name = "skip_softmax_dense",
       .field = &Request::skip_softmax_dense,
       .tasks = every({nullptr, kDense, kDense}),
       .group = "Sampling",
       .help = "With --skip-softmax: the first steps, in which nothing is left out; unset, 14 of 40 in proportion.",
       .metavar = "N"},
      {.name = "acceleration",
       .field = &Request::acceleration,
       .tasks = every({.value = "none", .words = {"none", "regular"}}),
       .group = "Sampling",
       .help = "regular reuses the transformer's residual in steps that would hardly change it: --dry-run lists them, "
               "docs/acceleration.md says what it saves and costs. Nothing in 8 steps and fewer, and of distilled "
               "models."},
      {.name = "calibration",
       .field = &Request::calibration,
       .tasks = every({}),
       .group = "Sampling",
       .help = "With --acceleration regular: how much each step changes the residual, as wan-infer calibrate measured "
               "it; unset, as published for A14B.",
       .metavar = "FILE",
       .path = true,
       .content = true},
      {.name = "sigmas",
       .field = &Request::sigmas,
       .tasks = every({nlohmann::json::array(), {0, 1, 1, true}, {0, 1, 1, true}}),
       .group = "Sampling",
       .help = "Explicit noise levels, falling, without the last 0; in place of steps and shift.",
       .metavar = "X,X,..."},
  };
}

}  // namespace wan::rows
