// Skip-Softmax in a request: which steps have it, what is counted, kept and written, and who is refused.
#include "engine/sampling/skipping.h"

#include <nlohmann/json.hpp>

#include "engine/job/speech_folder.h"
#include "engine/media/metadata.h"
#include "engine/request/parse.h"
#include "engine/sampling/guidance.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

using nlohmann::json;

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

Request request_of(Task task, const json& more, Source source = Source::Fields) {
  json fields = {{"prompt", "x"}, {"seed", 1}};
  if (task == Task::V2V) fields["video_url"] = "input";
  fields.update(more);
  return parse(task, fields, {.source = source, .need_model = false, .check_files = false});
}

/// lambda of each step that is made.
std::vector<double> lambdas(const Request& request) {
  std::vector<double> all;
  for (const Step& step : make_schedule(request)) all.push_back(step.skip_softmax);
  return all;
}

std::string refusal(const json& more, Source source = Source::Fields) {
  try {
    request_of(Task::T2V, more, source);
    return "taken";
  } catch (const InvalidRequest& invalid) {
    return invalid.what();
  }
}

TEST(Skipping, OffByDefault) {
  const Request request = request_of(Task::T2V, json::object());
  EXPECT_EQ(request.skip_softmax, 0);
  EXPECT_EQ(lambdas(request), std::vector<double>(27, 0));
  EXPECT_FALSE(to_json(request).contains("skip_softmax_dense"));
  EXPECT_FALSE(to_json(request_of(Task::T2V, {{"skip_softmax_dense", 3}})).contains("skip_softmax_dense"))
      << "without a lambda it means nothing";
}

TEST(Skipping, TheFirstStepsStayDenseInProportion) {
  EXPECT_EQ(dense_steps(40), 14);
  EXPECT_EQ(dense_steps(20), 7);
  EXPECT_EQ(dense_steps(27), 10) << "rounded up";
  EXPECT_EQ(dense_steps(4), 2);
  EXPECT_EQ(dense_steps(1), 1);
  const Request request = request_of(Task::T2V, {{"skip_softmax", 0.25}, {"num_inference_steps", 4}});
  EXPECT_EQ(lambdas(request), (std::vector<double>{0, 0, 0.25, 0.25}));
  EXPECT_EQ(to_json(request).at("skip_softmax"), 0.25);
  EXPECT_EQ(to_json(request).at("skip_softmax_dense"), 2);
  const json given = {{"skip_softmax", 0.25}, {"skip_softmax_dense", 1}, {"num_inference_steps", 4}};
  EXPECT_EQ(lambdas(request_of(Task::T2V, given)), (std::vector<double>{0, 0.25, 0.25, 0.25}));
  json none = given;
  none["skip_softmax_dense"] = 0;
  EXPECT_EQ(lambdas(request_of(Task::T2V, none)), std::vector<double>(4, 0.25));
  none["skip_softmax_dense"] = 1000;
  EXPECT_EQ(lambdas(request_of(Task::T2V, none)), std::vector<double>(4, 0));
}

TEST(Skipping, OfAVideoTheStepsThatAreNotMadeCount) {
  const json fields = {{"skip_softmax", 0.5}, {"num_inference_steps", 10}, {"strength", 0.8}};
  // 4 of 10 stay dense, of which the input's strength leaves two.
  EXPECT_EQ(lambdas(request_of(Task::V2V, fields)), (std::vector<double>{0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5}));
}

TEST(Skipping, RefusesHostileValues) {
  for (const char* value : {"1", "-0.1", "nan", "inf", "1.5", "half", ""})
    EXPECT_NE(refusal({{"skip_softmax", value}}, Source::Flags).find("[skip_softmax] must be"), std::string::npos)
        << value << ": " << refusal({{"skip_softmax", value}}, Source::Flags);
  for (const json& value : {json(1), json(-0.1), json(true), json("0.5"), json(json::array())})
    EXPECT_NE(refusal({{"skip_softmax", value}}), "taken") << value;
  EXPECT_NE(refusal({{"skip_softmax", 1}, {"unlocked", true}}).find("from 0, below 1"), std::string::npos);
  EXPECT_EQ(refusal({{"skip_softmax", 0.999}}), "taken");
  for (const json& value : {json(-1), json(1001), json(1.5), json("3")})
    EXPECT_NE(refusal({{"skip_softmax", 0.5}, {"skip_softmax_dense", value}}), "taken") << value;
}

TEST(Skipping, ACardWithoutOurAttentionIsRefusedWithTheWayOut) {
  const auto why = [](const SkippingCard& card) { return why_no_skipping(card).value_or("taken"); };
  const auto has = [&](const SkippingCard& card, const char* words) {
    const std::string text = why(card);
    EXPECT_TRUE(text.starts_with("must be 0 ")) << text;
    EXPECT_NE(text.find("; leave --skip-softmax out, or "), std::string::npos) << text;
    EXPECT_NE(text.find(words), std::string::npos) << text;
  };
  EXPECT_EQ(why({.has_kernel = true}), "taken");
  has({}, "no attention of our own");
  has({.dtype = at::kFloat}, "--dtype bf16");
  has({.head_width = 64}, "with heads of 64 values on a card");
  has({.head_width = 64, .precision = Precision::Fast}, "has heads of 128; ");
  has({.options = {.reference = true}}, "WAN_KERNELS");
  const kernels::Options off = {.attention_off = {"mma"}};
  has({.has_kernel = true, .options = off}, "WAN_ATTENTION_OFF names mma");
  EXPECT_EQ(why({.has_kernel = true, .precision = Precision::Fast, .options = off}), "taken")
      << "8-bit attention is always ours";
  EXPECT_EQ(why({.has_kernel = true, .options = {.attention_off = {"cudnn", "wgmma"}}}), "taken");
}

TEST(Skipping, ARequestIsCheckedWithTheHeadsOfItsModel) {
  const Request sparse = request_of(Task::T2V, {{"skip_softmax", 0.5}});
  EXPECT_NO_THROW(check_skipping(sparse, {}, Placement{})) << "the CPU does it, whatever the heads";
  // A card that is only named: the options alone decide, and the model is read before.
  Placement card;
  card.device = at::Device(at::kCUDA, 0);
  card.dtype = at::kBFloat16;
  card.context = std::make_shared<kernels::Context>(kernels::Options{.reference = true}, card.device);
  EXPECT_NO_THROW(check_skipping(request_of(Task::T2V, json::object()), {}, card)) << "nothing is left out";
  try {
    check_skipping(sparse, parts_of(kNano, Task::T2V), card);
    ADD_FAILURE() << "taken";
  } catch (const InvalidRequest& refused) {
    EXPECT_EQ(refused.errors.at(0).field, "skip_softmax");
    EXPECT_NE(refused.errors.at(0).line().find("WAN_KERNELS=reference"), std::string::npos);
  }
}

TEST(Skipping, ItsCountGoesIntoTheRecordAndBack) {
  Record record = make_record(request_of(Task::T2V, {{"skip_softmax", 0.5}}), Placement{}, {});
  EXPECT_FALSE(json::parse(to_text(record)).contains("skip_softmax_blocks"));
  record.skipped = {30, 40};
  EXPECT_EQ(json::parse(to_text(record)).at("skip_softmax_blocks"), (json{{"skipped", 30}, {"all", 40}}));
  const Record read = parse_record(to_text(record), "video");
  EXPECT_EQ(read.skipped, (SkippedBlocks{30, 40}));
  EXPECT_EQ(read.request.skip_softmax, 0.5);
  EXPECT_EQ(read.request.skip_softmax_dense, 10);
}

TEST(Skipping, SpeechKeepsItBesideItsClips) {
  const TemporaryFolder folder;
  const SpeechFolder kept(folder / "clips");
  EXPECT_EQ(kept.skipped(0), SkippedBlocks());
  kept.save_latents(0, at::zeros({2}), {{"a case", "mma"}}, {3, 10});
  EXPECT_EQ(kept.skipped(0), (SkippedBlocks{3, 10}));
  kept.save_latents(1, at::zeros({2}), {{"a case", "mma"}}, {4, 20});
  EXPECT_EQ(kept.skipped(1), (SkippedBlocks{4, 20})) << "the newest has them all";
  EXPECT_EQ(kept.skipped(0), (SkippedBlocks{3, 10})) << "a clip that is made again is not counted twice";
  EXPECT_EQ(kept.attention(), (AttentionChoices{{"a case", "mma"}})) << "a count is no choice";
}

struct SkippingGuided : testing::Test {
  Networks models{parts_of(kNano, Task::T2V), Placement{}, Networks::Keep::All, Log{}};
  const int64_t text_dim =
      Checkpoint::open(models.parts().path_of(Network::HighNoise)).tensors().at("text_embedding.0.weight").shape.at(1);
  Conditioning texts{.positive = at::ones({3, text_dim}), .negative = at::full({2, text_dim}, -1), .image = {}};
  at::Tensor x = at::arange(16 * 5 * 8 * 8, at::kFloat).view({16, 5, 8, 8}).sin();  // 80 tokens: 5 groups, 2 tiles
};

TEST_F(SkippingGuided, ADenseStepHasTheSameBitsAndASparseOneIsCounted) {
  Skipping skipping;
  Guidance plain(models, texts), guidance(models, texts, {.skipping = &skipping});
  const Step dense{.t = 900, .high = true, .guidance = 3};
  const Velocity want = plain(dense, x), same = guidance(dense, x);
  EXPECT_TRUE(same.conditional.equal(want.conditional) && same.unconditional.equal(want.unconditional));
  EXPECT_EQ(skipping.counted(), SkippedBlocks());

  Step sparse = dense;
  sparse.skip_softmax = 1e-30;
  EXPECT_LT(relative_rms(guidance(sparse, x).conditional, want.conditional), 1e-4) << "nothing is left out";
  const WanConfig& config = models.expert(true).config;
  // In the first block both branches share their self-attention.
  const int64_t blocks = (1 + 2 * (config.num_layers - 1)) * config.num_heads * 5 * 2;
  EXPECT_EQ(skipping.counted(), (SkippedBlocks{0, blocks}));
  sparse.skip_softmax = 0.999;
  const Velocity other = guidance(sparse, x);
  EXPECT_EQ(skipping.counted().all, 2 * blocks);
  EXPECT_GT(skipping.counted().skipped, 0);
  EXPECT_LE(skipping.counted().skipped, blocks / 2) << "a first tile is never left out";
  EXPECT_FALSE(other.conditional.equal(want.conditional));
  EXPECT_TRUE(other.conditional.isfinite().all().item<bool>());
}

class SkippingJob : public testing::Test {
 protected:
  Request request(const char* out, json more = json::object()) const {
    json fields = {{"task", "t2v"},
                   {"model", kNano.string()},
                   {"prompt", "a red circle"},
                   {"unlocked", true},
                   {"width", 64},
                   {"height", 64},
                   {"num_frames", 17},
                   {"num_inference_steps", 4},
                   {"seed", 1},
                   {"device", "cpu"},
                   {"skip_softmax", 0.999},
                   {"out", folder_ / out}};
    fields.update(more);
    if (fields["skip_softmax"].is_null()) fields.erase("skip_softmax");
    return parse(fields, {.folder = folder_.path()});
  }
  Record record_of(const Request& request) const { return parse_record(read_metadata({request.out, "out"}), "out"); }

  c10::InferenceMode inference_;
  TemporaryFolder folder_;
  Log quiet_;
};

TEST_F(SkippingJob, GoesOnWithTheSameBytesAndCount) {
  Silent silent;
  const Request whole = request("whole.mp4"), broken = request("broken.mp4");
  std::vector<Log::Fields> told;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "skip_softmax") told.push_back(fields);
  }};
  render(whole, {.save_every = {}}, log, silent);
  const Record record = record_of(whole);
  EXPECT_GT(record.skipped.skipped, 0);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0]["dense_steps"], 2);
  EXPECT_EQ(told[0]["steps"], 4);
  EXPECT_EQ(told[1]["skipped"], record.skipped.skipped);
  EXPECT_EQ(told[1]["blocks"], record.skipped.all);

  Steps stop(3);  // behind the first sparse step
  EXPECT_THROW(render(broken, {.save_every = {}}, quiet_, stop), Cancelled);
  render(broken, {.save_every = {}}, quiet_, silent);
  EXPECT_EQ(record_of(broken).skipped, record.skipped);
  EXPECT_EQ(bytes_of(broken.out), bytes_of(whole.out));
}

TEST_F(SkippingJob, ZeroAndOnlyDenseStepsAreTheVideoWithoutIt) {
  Silent silent;
  const Request without = request("without.mp4", {{"skip_softmax", nullptr}, {"metadata", "none"}}),
                zero = request("zero.mp4", {{"skip_softmax", 0}, {"metadata", "none"}}),
                dense = request("dense.mp4", {{"skip_softmax_dense", 4}, {"metadata", "none"}}),
                sparse = request("sparse.mp4", {{"metadata", "none"}});
  for (const Request* each : {&without, &zero, &dense, &sparse}) render(*each, {}, quiet_, silent);
  EXPECT_EQ(bytes_of(zero.out), bytes_of(without.out));
  EXPECT_EQ(bytes_of(dense.out), bytes_of(without.out));
  EXPECT_NE(bytes_of(sparse.out), bytes_of(without.out));
}

}  // namespace
}  // namespace wan
