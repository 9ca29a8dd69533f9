// Queries and keys of a render that are kept for wan-bench skip-softmax.
#include "engine/sampling/captured_heads.h"

#include <ATen/ATen.h>

#include "engine/request/parse.h"
#include "models/weights/checkpoint.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

Request request_of(const nlohmann::json& more) {
  nlohmann::json fields = {{"prompt", "x"}, {"seed", 1}};
  fields.update(more);
  return parse(Task::T2V, fields, {.source = Source::Fields, .need_model = false, .check_files = false});
}

/// The steps of a request that are looked at, by their indices.
std::vector<int64_t> looked_at(const Request& request) {
  const Schedule schedule = make_schedule(request);
  HeadsCapture capture(request, schedule, step_reuse(request, schedule));
  std::vector<int64_t> found;
  for (const Step& step : schedule)
    if (capture.begin(step, 40)) found.push_back(step.index);
  return found;
}

TEST(CapturedHeads, AreOfThreeStepsBehindTheDenseOnes) {
  EXPECT_EQ(looked_at(request_of({{"num_inference_steps", 27}})), (std::vector<int64_t>{10, 18, 26}));
  EXPECT_EQ(looked_at(request_of({{"num_inference_steps", 4}})), (std::vector<int64_t>{2, 3}));
  const nlohmann::json sparse = {{"num_inference_steps", 4}, {"skip_softmax", 0.1}};
  nlohmann::json early = sparse, never = sparse;
  early["skip_softmax_dense"] = 1;
  EXPECT_EQ(looked_at(request_of(early)), (std::vector<int64_t>{1, 2, 3}));
  never["skip_softmax_dense"] = 4;
  EXPECT_EQ(looked_at(request_of(never)), (std::vector<int64_t>{0, 1, 3})) << "where all are dense, of all";
  EXPECT_EQ(looked_at(request_of({{"num_inference_steps", 27}, {"acceleration", "regular"}})),
            (std::vector<int64_t>{10, 16, 26}))
      << "18 reuses a residual, 20 and 22, too: they have no attention";
}

TEST(CapturedHeads, AreSomeHeadsOfSomeBlocksWithAllKeys) {
  const Request request = request_of({{"num_inference_steps", 4}});
  const Schedule schedule = make_schedule(request);
  HeadsCapture capture(request, schedule);
  EXPECT_EQ(capture.begin(schedule[0], 6), nullptr);
  const SeeLayers* see = capture.begin(schedule[2], 6);
  ASSERT_TRUE(see);
  at::manual_seed(3);
  const at::Tensor q = at::randn({1, 5000, 7, 16}), k = at::randn({1, 5000, 7, 16}), other = at::randn_like(q);
  for (int64_t layer = 0; layer < 6; ++layer) {
    (*see)(layer, q + double(layer), k);
    (*see)(layer, other, other);  // the branch without the prompt
  }
  EXPECT_EQ(capture.count(), 4u);
  const TemporaryFolder folder;
  capture.write(folder / "heads.safetensors");
  const Checkpoint file = Checkpoint::open(folder / "heads.safetensors");
  std::set<std::string> names;
  for (const auto& [name, stored] : file.tensors()) names.insert(name);
  std::set<std::string> want;
  for (const char* block : {"00", "01", "03", "05"})
    for (const char* tensor : {"q", "k"}) want.insert("step002.block" + std::string(block) + "." + tensor);
  EXPECT_EQ(names, want);
  const at::Tensor heads = at::tensor({0, 2, 4, 6}, at::kLong);
  EXPECT_TRUE(file.map("step002.block03.k").equal(k.index_select(2, heads)));
  const at::Tensor rows = file.map("step002.block03.q"), all = (q + 3.0).index_select(2, heads);
  ASSERT_EQ(rows.size(1), 32 * 64);
  EXPECT_TRUE(rows.narrow(1, 0, 64).equal(all.narrow(1, 0, 64)));
  EXPECT_TRUE(rows.narrow(1, 31 * 64, 64).equal(all.narrow(1, 77 * 64, 64))) << "the last whole group of 64";
}

class CapturedHeadsJob : public testing::Test {
 protected:
  Request request(const char* out) const {
    const nlohmann::json fields = {{"task", "t2v"},
                                   {"model", kNano.string()},
                                   {"prompt", "a red circle"},
                                   {"unlocked", true},
                                   {"width", 64},
                                   {"height", 64},
                                   {"num_frames", 17},
                                   {"num_inference_steps", 4},
                                   {"seed", 1},
                                   {"device", "cpu"},
                                   {"out", folder_ / out}};
    return parse(fields, {.folder = folder_.path()});
  }
  /// Renders with a capture; the texts of warnings.
  std::vector<std::string> render_captured(const Request& request, Progress& progress) {
    std::vector<std::string> warnings;
    const Log log{[&](std::string_view event, const Log::Fields& fields) {
      if (event == "warning") warnings.push_back(fields.at("text"));
    }};
    render(request, {.output = {.captured_heads = file_}, .save_every = {}}, log, progress);
    return warnings;
  }

  c10::InferenceMode inference_;
  TemporaryFolder folder_;
  const std::string file_ = folder_ / "heads.safetensors";
};

TEST_F(CapturedHeadsJob, AreWrittenAndTheVideoIsTheSame) {
  Silent silent;
  const Request plain = request("plain.mp4"), captured = request("captured.mp4");
  render(plain, {}, Log{}, silent);
  EXPECT_TRUE(render_captured(captured, silent).empty());
  EXPECT_TRUE(bytes_of(captured.out) == bytes_of(plain.out));
  const Checkpoint file = Checkpoint::open(file_);
  EXPECT_EQ(file.tensors().size(), 2u * 2 * 4) << "q and k, two steps, four blocks";
  const at::Tensor q = file.map("step003.block05.q"), k = file.map("step003.block05.k");
  EXPECT_EQ(k.sizes(), (std::vector<int64_t>{1, 80, 1, 128})) << "all tokens of 5 latent frames of 4 x 4";
  EXPECT_EQ(q.size(1), 64);
  EXPECT_TRUE(q.isfinite().all().item<bool>() && k.isfinite().all().item<bool>());
  EXPECT_NE(bytes_of(file_).find("step002.block00.k"), std::string::npos);
  // A file is not replaced unasked, and a finished video has nothing to capture.
  EXPECT_EQ(render_captured(captured, silent).size(), 1u);
  try {
    render_captured(request("other.mp4"), silent);
    ADD_FAILURE() << "replaced";
  } catch (const InvalidRequest& refused) {
    EXPECT_EQ(refused.errors.at(0).field, "capture_qk");
  }
}

TEST_F(CapturedHeadsJob, OfStepsThatWereMadeBeforeNothingIsCapturedAndThatIsTold) {
  Silent silent;
  const Request wanted = request("a.mp4");
  Steps stopped(Stage::Decode);
  EXPECT_THROW(render(wanted, {}, Log{}, stopped), Cancelled);
  const std::vector<std::string> warnings = render_captured(wanted, silent);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_TRUE(warnings[0].starts_with("no heads are captured: ")) << warnings[0];
  EXPECT_FALSE(fs::exists(file_));
}

}  // namespace
}  // namespace wan
