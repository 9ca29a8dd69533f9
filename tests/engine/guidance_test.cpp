#include "engine/sampling/guidance.h"

#include "engine/request/parse.h"
#include "engine/residency/request_workload.h"
#include "tests/parts.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

struct Guided : testing::Test {
  Networks models{parts_of(kNano, Task::T2V), Placement{}, Networks::Keep::All, Log{}};
  const int64_t text_dim =
      Checkpoint::open(models.parts().path_of(Network::HighNoise)).tensors().at("text_embedding.0.weight").shape.at(1);
  Conditioning texts{.positive = at::ones({3, text_dim}), .negative = at::full({2, text_dim}, -1), .image = {}};
  at::Tensor x = at::arange(16 * 2 * 4 * 4, at::kFloat).view({16, 2, 4, 4}).sin();

  /// One branch alone, by an expert whose context is made anew.
  at::Tensor branch(const Step& step, const at::Tensor& states) {
    const WanModel& expert = models.expert(step.high);
    Context context = expert.context(states);
    return expert(x, expert.rope(x), step.t, {&context})[0];
  }
};

TEST_F(Guided, AtExactlyOneTheSecondPassIsSkipped) {
  texts.negative = at::Tensor();  // would be missed
  Guidance guidance(models, texts);
  const Step step{.t = 900, .high = true, .guidance = 1};
  const Velocity velocity = guidance(step, x);
  EXPECT_TRUE(velocity.conditional.equal(branch(step, texts.positive)));
  EXPECT_FALSE(velocity.unconditional.defined());
}

TEST_F(Guided, PresetsForFewStepsMakeOnePassWhereTheyDoNotGuide) {
  struct Row {
    const char* preset;
    int64_t high, low;  // forwards
  };
  for (const Row& row : {Row{"lightning4", 2, 2}, {"lightning8-3phase", 5, 4}}) {
    Request request = parse(Task::T2V, {{"prompt", "x"}, {"seed", 1}, {"preset", row.preset}, {"model", kNano.string()}},
                            {.check_files = false});
    const Schedule schedule = make_schedule(request);
    Guidance guidance(models, texts);
    int64_t high = 0, low = 0;
    for (const Step& step : schedule) (step.high ? high : low) += guidance(step, x).unconditional.defined() ? 2 : 1;
    EXPECT_EQ(high, row.high) << row.preset;
    EXPECT_EQ(low, row.low) << row.preset;
    const Workload planned = workload_of(request, models.parts(), models.placement());
    EXPECT_EQ(planned.high_forwards, high) << row.preset;
    EXPECT_EQ(planned.low_forwards, low) << row.preset;
  }
}

TEST_F(Guided, CombinesBothBranchesOfTheExpertAtWork) {
  Guidance guidance(models, texts);
  // There and back: the other expert has other projections of the same text, which must not be kept.
  for (bool high : {true, false, true}) {
    const Step step{.t = high ? 900.0 : 500.0, .high = high, .guidance = high ? 3.5 : 0.5};
    const at::Tensor positive = branch(step, texts.positive), negative = branch(step, texts.negative);
    // float32, another order of sums in a batch of two branches
    EXPECT_TRUE(is_close(kernels::guided(guidance(step, x)), negative + step.guidance * (positive - negative), 1e-5))
        << high;
    EXPECT_GT(max_abs_difference(positive, negative), 1e-3);
  }
}

}  // namespace
}  // namespace wan
