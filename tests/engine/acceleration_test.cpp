// --acceleration regular in whole renders of every task: which forwards run, the same bytes behind an interrupt, and
// which calibrations are taken.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/job/calibrate.h"
#include "engine/job/check.h"
#include "engine/media/metadata.h"
#include "engine/media/png.h"
#include "engine/media/writer.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/residency/job_plan.h"
#include "engine/residency/model_reuse.h"
#include "engine/residency/needs.h"
#include "engine/residency/open_network.h"
#include "engine/residency/request_workload.h"
#include "engine/sampling/guidance.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";
const fs::path kCheckpoints = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints";

fs::path model_of(Task task) {
  if (task == Task::I2V) return kCheckpoints / "Wan2.2-I2V-A14B";
  return task == Task::S2V ? kCheckpoints / "Wan2.2-S2V-14B" : kNano;
}

/// Renders of 10 or more steps at 64x64, with a calibration by which much is reused.
class Acceleration : public testing::Test {
 protected:
  Acceleration() {
    write_png(folder_ / "face.png", moving_picture(1, 64, 64)[0]);
    write_sound(folder_ / "voice.wav", 16000, 1);
    VideoWriter writer(folder_ / "clip.mp4", {.height = 64, .width = 64});
    writer.write(moving_picture(17, 64, 64));
    writer.finish();
  }

  Request request(Task task, const char* out, const json& more = json::object()) const {
    json fields = {{"model", model_of(task).string()},
                   {"prompt", "a red circle"},
                   {"out", out},
                   {"unlocked", true},
                   {"width", 64},
                   {"height", 64},
                   {"num_inference_steps", 12},
                   {"seed", 1},
                   {"device", "cpu"},
                   {"acceleration", "regular"}};
    if (task == Task::T2V || task == Task::I2V) fields["num_frames"] = 5;
    if (task == Task::S2V) fields["num_frames"] = 40;
    if (task == Task::I2V || task == Task::S2V) fields["image_url"] = "face.png";
    if (task == Task::S2V) fields["audio_url"] = "voice.wav";
    if (task == Task::V2V) fields.update({{"video_url", "clip.mp4"}, {"strength", 0.9}});
    fields.update(more);
    if (fields["acceleration"] == "regular" && !fields.contains("calibration"))
      fields["calibration"] = calibration(task, fields);
    return parse(task, fields, {.folder = folder_.path()});
  }

  /// Measured, as the file says, on the model: of the conditional branch 0.99, of the other one 0.97.
  std::string calibration(Task task, const json& fields, const fs::path& of = {}) const {
    const std::string name = std::string(task_name(task)) + ".json";
    json plain = fields;
    plain["acceleration"] = "none";
    plain["strength"] = 1;
    if (task != Task::V2V) plain.erase("strength");
    const Request asked = parse(task, plain, {.folder = folder_.path()});
    Calibration made;
    made.task = task;
    made.solver = asked.solver;
    made.shift = asked.shift;
    made.boundary = asked.boundary;
    const ModelParts parts = parts_of(of.empty() ? model_of(task) : of, task);
    made.networks = calibrated_networks(parts, identities(parts));
    for (const Step& step : make_schedule(asked)) {
      CalibratedStep one{.sigma = step.sigma, .high = step.high, .changes = {}};
      if (!made.steps.empty() && made.steps.back().high == step.high)
        one.changes = {ResidualChange{.ratio = 0.99}, ResidualChange{.ratio = 0.97}};
      made.steps.push_back(one);
    }
    std::ofstream(folder_ / name) << to_text(made);
    return name;
  }

  /// In the work folder of this name.
  Calibration measured(const Request& asked, const std::vector<std::string>& prompts, Progress& progress,
                       const char* work = "c.json.work", bool fresh = false) const {
    const fs::path path = folder_ / work;
    WorkFolder folder(path, WorkFolder::draw_number(path), "out");
    return calibrate(asked, prompts, folder, {.fresh = fresh, .save_every = {}}, log_, progress);
  }

  Record record_of(const Request& request) const { return parse_record(read_metadata({request.out, "out"}), "out"); }

  /// Renders it and returns its bytes.
  std::string rendered(const Request& request, Progress& progress, const SingleOptions& options = {}) {
    return bytes_of(render(request, options, log_, progress));
  }
  std::string rendered(const Request& request) {
    Silent silent;
    return rendered(request, silent);
  }

  c10::InferenceMode inference_;
  TemporaryFolder folder_;
  std::vector<std::string> told_;  // texts of notes and warnings
  std::vector<Log::Fields> reuse_;
  Log log_{[this](std::string_view event, const Log::Fields& fields) {
    if (event == "note" || event == "warning") told_.push_back(fields.at("text"));
    if (event == "acceleration") reuse_.push_back(fields);
  }};
};

/// How many self-attentions a step's forwards are: in the first block branches that are computed together share theirs.
int64_t attentions(const StepReuse& reuse, int64_t layers) {
  int64_t sum = 0;
  for (const StepForwards& step : reuse.steps) {
    const int64_t computed = std::ranges::count(step.has, true) - std::ranges::count(step.reuses, true);
    sum += computed == 0 ? 0 : 1 + computed * (layers - 1);
  }
  return sum;
}

/// Report::share before each step of denoising.
struct Shares : Progress {
  void at(const Report& report) override {
    if (report.stage == Stage::Denoise) shares.push_back(report.share.value_or(-1));
  }
  std::vector<double> shares;
};

TEST_F(Acceleration, TheForwardsThatRunAreThoseOfThePlan) {
  for (Task task : kTasks) {
    SCOPED_TRACE(task_name(task));
    reuse_.clear();
    // Skip-Softmax that leaves nothing out counts the blocks of every self-attention.
    const json counted = {{"skip_softmax", 1e-30}, {"skip_softmax_dense", 0}};
    json off = counted;
    off["acceleration"] = "none";
    const std::string name = task_name(task);
    const Request plain = request(task, (name + "-none.mp4").c_str(), off),
                  regular = request(task, (name + "-regular.mp4").c_str(), counted);
    const ModelParts parts = parts_of(model_of(task), task);
    const StepReuse reuse = step_reuse(regular, parts), all = step_reuse(plain, parts);
    ASSERT_GT(reuse.reused(), 3);
    EXPECT_EQ(all.reused(), 0);
    EXPECT_NE(reuse.reused_steps(kConditional), reuse.reused_steps(kUnconditional)) << "branches part";
    rendered(plain);
    EXPECT_TRUE(reuse_.empty());
    Shares progress;
    rendered(regular, progress);
    EXPECT_EQ(progress.shares, reuse.shares());
    const Record none = record_of(plain), some = record_of(regular);
    const int64_t layers = transformer_config(parts).num_layers;
    EXPECT_EQ(none.skipped.all % attentions(all, layers), 0);
    EXPECT_EQ(some.skipped.all, none.skipped.all / attentions(all, layers) * attentions(reuse, layers));
    EXPECT_TRUE(none.reused_steps.empty());
    EXPECT_EQ(some.reused_steps.at("conditional"), reuse.reused_steps(kConditional));
    EXPECT_EQ(some.reused_steps.at("unconditional"), reuse.reused_steps(kUnconditional));
    ASSERT_EQ(reuse_.size(), 1u);
    EXPECT_EQ(reuse_[0]["reused_forwards"], reuse.reused());
    EXPECT_EQ(reuse_[0]["forwards"], reuse.forwards());
    const Workload workload = workload_of(regular, parts, resolve_placement(regular));
    EXPECT_EQ(workload.high_forwards + workload.low_forwards, reuse.forwards() - reuse.reused());
    EXPECT_EQ(workload.high_reused + workload.low_reused, reuse.reused());
  }
}

TEST_F(Acceleration, GoesOnInTheMiddleOfAReuseWithTheSameBytesAndCounts) {
  for (Task task : kTasks) {
    SCOPED_TRACE(task_name(task));
    const json counted = {{"skip_softmax", 0.9}, {"skip_softmax_dense", 0}};
    const Request whole = request(task, "whole.mp4", counted);
    const std::string want = rendered(whole);
    const StepReuse reuse = step_reuse(whole, parts_of(model_of(task), task));
    int64_t in_reuse = 0;
    const auto steps = int64_t(reuse.steps.size());
    for (int64_t stop = task == Task::T2V ? 1 : steps / 2 - 1; stop < steps; ++stop) {
      const std::string out = std::string(task_name(task)) + std::to_string(stop) + ".mp4";
      const Request broken = request(task, out.c_str(), counted);
      Steps first(stop);
      EXPECT_THROW(rendered(broken, first, {.save_every = {}}), Cancelled);
      Silent rest;
      EXPECT_TRUE(rendered(broken, rest) == want) << "after step " << stop;
      EXPECT_EQ(record_of(broken).skipped, record_of(whole).skipped) << "what is computed again counts once";
      in_reuse += reuse.reuses(reuse.first + stop, kConditional);
    }
    EXPECT_GT(in_reuse, 0);
    fs::remove(whole.out);
  }
}

TEST_F(Acceleration, GoesOnBehindAnInterruptThatIsInterruptedAgain) {
  const Request whole = request(Task::T2V, "whole.mp4"), broken = request(Task::T2V, "broken.mp4");
  const std::string want = rendered(whole);
  for (int64_t i = 0; i < 12; ++i) {  // one step in each process
    Steps one(1);
    try {
      rendered(broken, one, {.save_every = {}});
    } catch (const Cancelled&) {
    }
  }
  EXPECT_TRUE(rendered(broken) == want);
}

TEST_F(Acceleration, FewStepsAreThoseWithoutItAndANoteSaysSo) {
  const json few = {{"num_inference_steps", 8}, {"metadata", "none"}};
  json off = few;
  off["acceleration"] = "none";
  const std::string plain = rendered(request(Task::T2V, "none.mp4", off));
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(rendered(request(Task::T2V, "regular.mp4", few)) == plain);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_NE(told_[0].find("regular reuses nothing: the run makes 8 steps"), std::string::npos) << told_[0];
}

TEST_F(Acceleration, WithoutACalibrationOnlyTheSizeOfTheModelHasRatios) {
  Request nano = request(Task::T2V, "a.mp4", {{"num_inference_steps", 9}});
  nano.calibration.clear();
  rendered(nano);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_NE(told_[0].find("no ratios are published for a transformer of this size"), std::string::npos) << told_[0];
  EXPECT_TRUE(record_of(nano).reused_steps.empty());
}

TEST_F(Acceleration, ACalibrationOfOtherWeightsIsRefusedBeforeAnythingRuns) {
  const json fields = {{"model", kNano.string()}, {"prompt", "x"},  {"out", "a.mp4"},
                       {"unlocked", true},        {"width", 64},    {"height", 64},
                       {"num_frames", 5},         {"device", "cpu"}};
  const std::string other = calibration(Task::T2V, fields, kCheckpoints / "Wan2.2-T2V-A14B");
  const Request wrong = request(Task::T2V, "a.mp4", {{"calibration", other}});
  Steps progress;
  try {
    rendered(wrong, progress);
    ADD_FAILURE() << "taken";
  } catch (const InvalidRequest& refused) {
    EXPECT_EQ(refused.errors.at(0).field, "calibration");
    EXPECT_TRUE(refused.errors.at(0).wrong.ends_with(
        " is of other weights as high_noise; wan-infer calibrate t2v measures this one"))
        << refused.errors.at(0).wrong << ": both are called high_noise_model";
  }
  EXPECT_EQ(progress.made, 0);
  EXPECT_FALSE(fs::exists(WorkFolder::beside(wrong.out)));
  const std::vector<CheckResult> checked =
      check_jobs({{.request = wrong}}, {.work = folder_ / "w", .scratch = folder_.path()}, progress);
  EXPECT_TRUE(checked.at(0).failure) << "wan-infer check says it, too";
  const Request foreign = request(Task::T2V, "b.mp4", {{"calibration", calibration(Task::T2V, fields)}});
  Request image = request(Task::I2V, "c.mp4");
  image.calibration = foreign.calibration;
  try {
    rendered(image);
    ADD_FAILURE() << "taken";
  } catch (const InvalidRequest& refused) {
    EXPECT_TRUE(refused.errors.at(0).wrong.ends_with(" is of t2v; wan-infer calibrate i2v makes one"))
        << refused.what();
  }
}

TEST_F(Acceleration, TheVideoSaysWhichCalibrationByItsContent) {
  request(Task::T2V, "a.mp4");  // writes t2v.json, of 12 steps
  const Request asked = request(Task::T2V, "a.mp4", {{"num_inference_steps", 9}, {"calibration", "t2v.json"}});
  rendered(asked);
  const auto is_of_others = [](const std::string& text) {
    return text.find("was measured with the noise levels of 12 steps") != std::string::npos;
  };
  EXPECT_EQ(std::ranges::count_if(told_, is_of_others), 1) << "a note says that it has other settings";
  const Record record = record_of(asked);
  EXPECT_EQ(record.request.acceleration, "regular");
  EXPECT_EQ(record.request.calibration, "t2v.json") << "a name and no path";
  EXPECT_EQ(record.inputs.at("calibration").size, fs::file_size(asked.calibration));
  // The same name with other content is another request.
  JobNames names;
  const std::string key = names.key_of(asked);
  std::ofstream(asked.calibration, std::ios::app) << " ";
  EXPECT_NE(JobNames().key_of(asked), key);
  Request moved = asked;
  fs::copy_file(asked.calibration, folder_ / "other.json");
  moved.calibration = folder_ / "other.json";
  EXPECT_EQ(JobNames().key_of(moved), JobNames().key_of(asked)) << "whatever it is called";
}

TEST_F(Acceleration, APlanCountsWhatIsKeptAndNoMoreThanAStep) {
  const Request nano = request(Task::T2V, "a.mp4");
  const ModelParts parts = parts_of(kNano, Task::T2V);
  Request off = nano;
  off.acceleration = "none";
  const Placement placement = resolve_placement(nano);
  const Workload with = workload_of(nano, parts, placement), without = workload_of(off, parts, placement);
  const Demand reused = with.demand(with.extent), plain = without.demand(without.extent);
  EXPECT_EQ(plain.kept, 0u);
  const WanConfig config = transformer_config(parts);
  EXPECT_EQ(reused.kept, 2u * uint64_t(with.extent.tokens() * config.dim) * sizeof(float)) << "float32 on the CPU";
  EXPECT_EQ(reused.denoise, plain.denoise) << "it lies where a step's activations were";
  const StepReuse reuse = step_reuse(nano, parts);
  const std::string want = std::to_string(reuse.reused()) + " of " + std::to_string(reuse.forwards()) +
                           " forwards are reused (--acceleration regular); what is kept for them between steps, ";
  const auto is_told = [&](const Request& asked) {
    const std::vector<std::string> assumed = job_plan(asked, {.gpu = "24GB", .host = "32GB"}).machine.assumed;
    return std::ranges::any_of(assumed, [&](const std::string& text) { return text.starts_with(want); });
  };
  EXPECT_TRUE(is_told(nano));
  EXPECT_FALSE(is_told(off));
  // At 720p in bf16.
  StepReuse both;
  both.steps = {{.has = {true, true}, .reuses = {true, true}}};
  EXPECT_EQ(kept_bytes(both, 75600, kWanT2vA14b.dim, 2), 1'548'288'000u);
  Placement card;
  card.device = at::Device(at::kCUDA, 0);
  card.dtype = at::kBFloat16;
  const Extent hd{81, 720, 1280};
  EXPECT_LE(1'548'288'000u + reuse_bytes(kWanT2vA14b, hd), denoise_bytes(kWanT2vA14b, hd, card));
}

struct AccelerationGuided : testing::Test {
  Networks models{parts_of(kNano, Task::T2V), Placement{}, Networks::Keep::All, Log{}};
  const int64_t text_dim =
      Checkpoint::open(models.parts().path_of(Network::HighNoise)).tensors().at("text_embedding.0.weight").shape.at(1);
  Conditioning texts{.positive = at::ones({3, text_dim}), .negative = at::full({2, text_dim}, -1), .image = {}};
  at::Tensor x = at::arange(16 * 2 * 4 * 4, at::kFloat).view({16, 2, 4, 4}).sin();
};

TEST_F(AccelerationGuided, AComputedStepHasTheBitsOfNoneAndAReusedOneTheResidualOfTheLast) {
  const Step first{.index = 0, .t = 900, .high = true, .guidance = 3},
      second{.index = 1, .t = 890, .high = true, .guidance = 3};
  StepReuse reuse;
  reuse.steps = {{.has = {true, true}, .reuses = {false, false}}, {.has = {true, true}, .reuses = {true, false}}};
  StepCache cache(reuse, at::kFloat, Log{});
  Guidance plain(models, texts), guidance(models, texts, {.cache = &cache});
  const Velocity want = plain(first, x), same = guidance(first, x);
  EXPECT_TRUE(same.conditional.equal(want.conditional) && same.unconditional.equal(want.unconditional));
  const at::Tensor residual = cache.kept(kConditional).clone(), other = x * 0.9;
  EXPECT_FALSE(cache.kept(kUnconditional).defined());
  const Velocity reused = guidance(second, other), computed = plain(second, other);
  EXPECT_TRUE(reused.unconditional.equal(computed.unconditional)) << "computed alone";
  EXPECT_FALSE(reused.conditional.equal(computed.conditional));
  const WanModel& expert = models.expert(true);
  const kernels::Rope rope = expert.rope(other);
  EXPECT_TRUE(
      reused.conditional.equal(expert.velocity(expert.embed(other) + residual, expert.begin(rope, second.t), other)));
  EXPECT_LT(relative_rms(reused.conditional, computed.conditional), 0.5) << "nearly the same";
}

TEST_F(Acceleration, CalibrateMeasuresTheModelAndItsFileIsTaken) {
  // Both branches of all steps are measured, also where the request would not guide.
  const Request asked =
      request(Task::T2V, "a.mp4", {{"acceleration", "none"}, {"num_inference_steps", 10}, {"guidance_until", 0.9}});
  Silent silent;
  const Calibration made =
      measured(asked, {"a red circle moves to the right on a black background", "a blue square"}, silent);
  EXPECT_FALSE(fs::exists(asked.out)) << "no video is made";
  const Schedule schedule = make_schedule(asked);
  ASSERT_EQ(int64_t(made.steps.size()), schedule.size());
  EXPECT_EQ(made.videos, 2);
  for (int64_t i = 0; i < schedule.size(); ++i) {
    EXPECT_EQ(made.steps[size_t(i)].sigma, double(schedule[i].sigma));
    const bool first = i == 0 || schedule[i].high != schedule[i - 1].high;
    for (size_t branch = 0; branch < kBranches; ++branch) {
      ASSERT_EQ(made.steps[size_t(i)].changes[branch].has_value(), !first) << i;
      if (first) continue;
      EXPECT_GT(made.steps[size_t(i)].changes[branch]->ratio, 0.3);
      EXPECT_LT(made.steps[size_t(i)].changes[branch]->ratio, 3);
    }
  }
  std::ofstream(folder_ / "made.json") << to_text(made);
  const Request regular = request(Task::T2V, "b.mp4", {{"calibration", "made.json"}, {"num_inference_steps", 10}});
  rendered(regular);
  for (const std::string& text : told_) EXPECT_EQ(text.find("mapped by noise level"), std::string::npos) << text;
}

TEST_F(Acceleration, CalibrateGivesEachVideoNoiseOfItsOwn) {
  const Request asked = request(Task::T2V, "a.mp4", {{"acceleration", "none"}, {"num_inference_steps", 3}});
  Silent silent;
  const std::vector<std::string> once = {"a red circle"}, twice = {"a red circle", "a red circle"};
  const Calibration one = measured(asked, once, silent, "one"), two = measured(asked, twice, silent, "two");
  EXPECT_EQ(two.videos, 2);
  EXPECT_FALSE(two.steps == one.steps) << "equal prompts are two measurements";
}

TEST_F(Acceleration, CalibrateMeasuresSpeechAndPictures) {
  Silent silent;
  for (Task task : {Task::I2V, Task::V2V, Task::S2V}) {
    SCOPED_TRACE(task_name(task));
    const Request asked = request(task, "a.mp4", {{"acceleration", "none"}, {"num_inference_steps", 4}});
    const Calibration made = measured(asked, {"a face"}, silent, task_name(task));
    EXPECT_EQ(made.task, task);
    EXPECT_EQ(int64_t(made.steps.size()), make_schedule(asked).size());
    EXPECT_EQ(made.networks.size(), task == Task::S2V ? 1u : 2u);
    EXPECT_EQ(parse_calibration(to_text(made), "").steps, made.steps);
  }
}

TEST_F(Acceleration, CalibrateGoesOnBehindAnInterruptWithTheSameFigures) {
  const std::vector<std::string> prompts = {"a red circle", "a blue square"};
  for (Task task : {Task::T2V, Task::S2V}) {
    const int64_t steps = task == Task::T2V ? 8 : 4;
    const Request asked = request(task, "a.mp4", {{"acceleration", "none"}, {"num_inference_steps", steps}});
    Steps all;
    const std::string whole = task_name(task) + std::string(" whole");
    const std::string want = to_text(measured(asked, prompts, all, whole.c_str()));
    ASSERT_EQ(all.made, 2 * steps);
    EXPECT_EQ(all.last.job, "2/2 video 2") << "no file of that name comes";
    // Between the phases, within each of them, in the first video and in the second.
    for (int64_t stop : {int64_t(1), steps - 1, steps, steps + 1, 2 * steps - 1}) {
      SCOPED_TRACE(task_name(task) + std::string(" after step ") + std::to_string(stop));
      const std::string work = task_name(task) + std::to_string(stop);
      Steps first(stop);
      EXPECT_THROW(measured(asked, prompts, first, work.c_str()), Cancelled);
      Request again = asked;  // another seed is drawn: the one that was drawn first counts
      again.seed = 77;
      again.seed_given = false;
      Steps rest;
      EXPECT_EQ(to_text(measured(again, prompts, rest, work.c_str())), want);
      EXPECT_EQ(rest.made, 2 * steps - stop) << "no step is made twice";
      Steps none;
      EXPECT_EQ(to_text(measured(asked, prompts, none, work.c_str())), want) << "as long as the file is not there";
      EXPECT_EQ(none.made, 0);
    }
  }
}

TEST_F(Acceleration, CalibrateLeavesTheWorkOfOtherSettings) {
  const auto of_steps = [&](int64_t steps) {
    return request(Task::T2V, "a.mp4", {{"acceleration", "none"}, {"num_inference_steps", steps}});
  };
  const fs::path work = folder_ / "c.json.work";
  Steps stopped(3);
  try {
    measured(of_steps(8), {"x"}, stopped);
    ADD_FAILURE() << "not stopped";
  } catch (const Cancelled& cancelled) {
    EXPECT_STREQ(cancelled.what(),
                 "'c.json.work' keeps what was measured: the same command goes on, --fresh starts anew");
  }
  const auto refusal = [&](const Request& asked, const std::vector<std::string>& prompts) -> std::string {
    try {
      Steps progress;
      measured(asked, prompts, progress);
      return "taken";
    } catch (const InvalidRequest& refused) {
      return refused.errors.at(0).field + " " + refused.errors.at(0).wrong;
    }
  };
  const std::string want =
      "out has unfinished work of a calibration with other settings in 'c.json.work'; --fresh discards it, another "
      "--out leaves it";
  EXPECT_EQ(refusal(of_steps(9), {"x"}), want);
  EXPECT_EQ(refusal(of_steps(8), {"y"}), want) << "other prompts";
  EXPECT_TRUE(fs::exists(work));
  Steps rest;
  measured(of_steps(8), {"x"}, rest);
  EXPECT_EQ(rest.made, 5) << "nothing of it was lost";
  Steps at_once(0);
  try {
    measured(of_steps(9), {"x"}, at_once, "c.json.work", /*fresh=*/true);
    ADD_FAILURE() << "not stopped";
  } catch (const Cancelled& cancelled) {
    EXPECT_STREQ(cancelled.what(), "nothing is kept: nothing was measured");
  }
  EXPECT_FALSE(fs::exists(work));
}

TEST_F(Acceleration, CalibrateWantsTwoStepsOfAnExpert) {
  // Two steps, one of each expert; video to video that keeps one step, and none.
  const std::vector<std::pair<Task, json>> few = {{Task::T2V, {{"num_inference_steps", 2}}},
                                                  {Task::V2V, {{"num_inference_steps", 10}, {"strength", 0.1}}},
                                                  {Task::V2V, {{"num_inference_steps", 10}, {"strength", 0}}}};
  for (const auto& [task, fields] : few) {
    json more = fields;
    more["acceleration"] = "none";
    Steps progress;
    try {
      measured(request(task, "a.mp4", more), {"x"}, progress);
      ADD_FAILURE() << "taken";
    } catch (const InvalidRequest& refused) {
      EXPECT_EQ(refused.errors.at(0).field, "num_inference_steps");
      EXPECT_NE(refused.errors.at(0).wrong.find("must give one expert two steps or more"), std::string::npos);
    }
    EXPECT_EQ(progress.made, 0);
    EXPECT_FALSE(fs::exists(folder_ / "c.json.work"));
  }
}

}  // namespace
}  // namespace wan
