// Blocks that are streamed through slots compute what they compute where they stay: in every form of weights, in every
// plan, after failures.
#include "models/weights/streamed_blocks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "models/files/error.h"
#include "models/umt5/encoder.h"
#include "models/wan/model.h"
#include "models/weights/format/safetensors.h"
#include "tests/coded_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

using kernels::Code;

const std::filesystem::path kFolder = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano",
                            kLow = kFolder / "low_noise_model", kHigh = kFolder / "high_noise_model";
constexpr int64_t kBlocks = 6;

/// A device's copies, on the CPU.
Place copied(at::ScalarType compute = at::kFloat, Kept kept = Kept::Stored, Precision precision = Precision::Exact) {
  return {.compute = compute, .precision = precision, .mapped = false, .kept = kept};
}

/// Copies slowly, so that who does not wait computes with what was there before; fails where it is told to.
class SlowEngine : public CopyEngine {
 public:
  explicit SlowEngine(int64_t* fails_in = nullptr) : fails_in_(fails_in), engine_(cpu_copy_engine()) {}
  Moment now() override { return nullptr; }
  void wait_for(const Moment&) override {}
  void begin(const Moment&) override { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }
  void copy(const Tensor& from, const Tensor& to) override {
    if (fails_in_ && --*fails_in_ == 0) throw std::runtime_error("no copy");
    engine_->copy(from, to);
  }
  Moment end() override { return nullptr; }

 private:
  int64_t* fails_in_;
  std::unique_ptr<CopyEngine> engine_;
};

/// Begins no copy as long as it is held.
class HeldEngine : public SlowEngine {
 public:
  explicit HeldEngine(const std::atomic<bool>& held) : held_(held) {}
  void begin(const Moment& moment) override {
    while (held_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    SlowEngine::begin(moment);
  }

 private:
  const std::atomic<bool>& held_;
};

/// A nano expert whose blocks are streamed.
struct Streamed {
  Streamed(const Checkpoint& file, const Place& place, const BlockPlan& plan, std::shared_ptr<Copier> with = nullptr,
           uint64_t host = UINT64_MAX, std::shared_ptr<BlockMemory> in = nullptr, bool begins = true)
      : copier(with ? with : std::make_shared<Copier>(std::make_unique<SlowEngine>())),
        room(std::make_shared<HostRoom>(host)) {
    Weights weights(file, place);
    files = weights.files();
    weights.plan(StreamedBlocks::kBlocks);
    model.emplace(weights.root(), WanConfig::read(kLow / "config.json"), place.compute);
    weights.finish();
    memory = in ? in : std::make_shared<BlockMemory>(StreamedBlocks::sizes(weights, kBlocks), plan, place.device);
    model->streamed = std::make_shared<StreamedBlocks>(weights, memory, copier, room);
    if (!in && begins) model->streamed->begin();
  }
  StreamedBlocks& blocks() { return *model->streamed; }
  int64_t jobs() {
    copier->settle();
    return copier->copied().jobs;
  }

  std::shared_ptr<Copier> copier;
  std::shared_ptr<HostRoom> room;
  std::shared_ptr<WeightFiles> files;
  std::shared_ptr<BlockMemory> memory;
  std::optional<WanModel> model;
};

/// Both branches of a step.
std::vector<Tensor> velocities(const WanModel& model, uint64_t seed = 41) {
  const c10::InferenceMode inference;
  at::manual_seed(int64_t(seed));
  const Tensor latent = at::randn({16, 1, 8, 8}), states = at::randn({5, 64}), others = at::randn({3, 64});
  Context context = model.context(states), other = model.context(others);
  return model(latent, model.rope(latent), 700, {&context, &other});
}

std::vector<Tensor> resident(const Checkpoint& file, const Place& place, uint64_t seed = 41) {
  Weights weights(file, place);
  const WanModel model(weights.root(), WanConfig::read(kLow / "config.json"), place.compute);
  weights.finish();
  return velocities(model, seed);
}

bool are_equal(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size() || !a[0].isfinite().all().item<bool>()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!a[i].equal(b[i])) return false;
  return true;
}

bool is_block_matrix(const std::string& name) {
  return name.starts_with("blocks.") && name.ends_with(".weight") && name.find("norm") == std::string::npos;
}

/// As Q4_K_M has it: v and the second half of the feed-forward in more bits, and that in some blocks only.
kernels::CodedMatrix mixture(const std::string& name, const Tensor& values) {
  const bool more = (name.find(".v.") != std::string::npos || name.find("ffn.2") != std::string::npos) &&
                    (name.starts_with("blocks.1.") || name.starts_with("blocks.2.") || name.starts_with("blocks.5."));
  if (more && values.size(1) % 256 == 0) {
    kernels::CodedMatrix codes = random_codes(Code::Q6_K, values.size(0), values.size(1), values.size(0));
    codes.factor = 1e-3f;  // random blocks are large
    return codes;
  }
  return more || values.size(1) % 256 != 0 ? as_q8_0(values) : as_q4_k(values);
}

struct Form {
  const char* name;
  Checkpoint file;
  Place place;
};

class StreamedForms : public testing::Test {
 protected:
  std::vector<Form> forms() {
    Place as_mapped = copied();
    as_mapped.as_mapped = true;
    const Checkpoint codes = coded_checkpoint(file_, folder_ / "codes", is_block_matrix, mixture);
    return {{"floats of the file, rows joined", file_, copied()},
            {"floats of the file, rows apart", file_, as_mapped},
            {"bf16", file_, copied(at::kBFloat16)},
            {"int8 rows", file_, copied(at::kFloat, Kept::Stored, Precision::Balanced)},
            {"fp8 codes", file_, copied(at::kFloat, Kept::Fp8)},
            {"int8 codes", file_, copied(at::kFloat, Kept::Int8)},
            {"codes of the file", codes, copied()},
            {"codes of the file in bf16", codes, copied(at::kBFloat16)},
            {"codes made to int8 rows", codes, copied(at::kFloat, Kept::Stored, Precision::Fast)}};
  }

  static Checkpoint in_floats(const Checkpoint& from, const std::filesystem::path& path) {
    std::map<std::string, Tensor> tensors;
    for (const auto& entry : from.tensors()) tensors[entry.first] = from.map(entry.first).to(at::kFloat).contiguous();
    write_safetensors(path, tensors);
    return Checkpoint::open(path);
  }

  TemporaryFolder folder_;
  const Checkpoint file_ = in_floats(Checkpoint::open(kLow), folder_ / "floats.safetensors");
};

TEST_F(StreamedForms, ComputeAsResidentOnesDo) {
  for (const Form& form : forms()) {
    SCOPED_TRACE(form.name);
    const std::vector<Tensor> want = resident(form.file, form.place), other = resident(form.file, form.place, 7);
    ASSERT_FALSE(are_equal(want, other));
    const bool is_plain = form.place.compute == at::kFloat && form.place.kept == Kept::Stored;
    for (int64_t slots : {2, 3})
      for (int64_t kept = 0; kept <= kBlocks; ++kept) {
        const int64_t others = kBlocks - kept;
        if (others < slots && slots == 3) continue;         // as with two
        if (!is_plain && kept != 0 && kept != 3) continue;  // the same copies of other bytes
        SCOPED_TRACE(std::to_string(kept) + " kept, " + std::to_string(slots) + " slots");
        Streamed streamed(form.file, form.place, {kept, std::min(slots, others)});
        EXPECT_TRUE(are_equal(velocities(*streamed.model), want));
        EXPECT_TRUE(are_equal(velocities(*streamed.model, 7), other)) << "a second forward";
        const int64_t first = kept + std::min(slots, others);
        EXPECT_EQ(streamed.jobs(), first + (others > slots ? 2 * others : 0));
      }
  }
}

TEST_F(StreamedForms, CopyEachByteOfTheirBlocksOnce) {
  for (const Form& form : forms()) {
    SCOPED_TRACE(form.name);
    Weights weights(form.file, form.place);
    const WanModel model(weights.root(), WanConfig::read(kLow / "config.json"), form.place.compute);
    Streamed streamed(form.file, form.place, {kBlocks, 0});
    streamed.copier->settle();
    EXPECT_EQ(streamed.copier->copied().bytes, bytes_of(weights.taken("blocks.")));
  }
}

/// Counts what is asked to be pinned.
class PinningEngine : public SlowEngine {
 public:
  explicit PinningEngine(uint64_t* pinned) : pinned_(pinned) {}
  Tensor kept(const Tensor& tensor) override {
    *pinned_ += tensor.nbytes();
    return tensor;
  }

 private:
  uint64_t* pinned_;
};

TEST(StreamedBlocks, PinNoMoreThanTheyMay) {
  const Checkpoint file = Checkpoint::open(kLow);
  const Place made = copied(at::kFloat, Kept::Int8);  // in another form than the file's
  const std::vector<Tensor> want = resident(file, made);
  Streamed free(file, made, {0, 2});
  velocities(*free.model);
  free.copier->settle();
  const uint64_t all = free.room->used(), half = all / 2;
  ASSERT_GT(half, 0u);
  EXPECT_EQ(free.room->pinned(), all);
  uint64_t pinned = 0;
  {
    Streamed limited(file, made, {0, 2}, std::make_shared<Copier>(std::make_unique<PinningEngine>(&pinned)));
    limited.room->set_limits(UINT64_MAX, half);
    EXPECT_TRUE(are_equal(velocities(*limited.model), want));
    EXPECT_TRUE(are_equal(velocities(*limited.model), want));
    limited.copier->settle();
    EXPECT_EQ(limited.room->used(), all) << "the rest is kept in ordinary memory";
    EXPECT_EQ(limited.room->pinned(), pinned);
    EXPECT_LE(pinned, half);
    EXPECT_GT(pinned, half / 2);
    const auto room = limited.room;
    limited.model.reset();
    EXPECT_EQ(room->pinned() + room->used(), 0u) << "all is given back";
  }
}

TEST_F(StreamedForms, WhatAFileHasIsNotKeptTwice) {
  for (const Form& form : forms()) {
    SCOPED_TRACE(form.name);
    const bool made = form.place.compute == at::kBFloat16 || form.place.kept != Kept::Stored ||
                      form.place.precision != Precision::Exact;
    Streamed streamed(form.file, form.place, {0, 2});
    velocities(*streamed.model);
    streamed.copier->settle();
    EXPECT_EQ(streamed.blocks().host_bytes() > 0, made);
    EXPECT_EQ(streamed.blocks().host_bytes(), streamed.room->used());
    // Without room, what has to be made is made again each time.
    Streamed none(form.file, form.place, {0, 2}, nullptr, 0);
    EXPECT_TRUE(are_equal(velocities(*none.model), velocities(*streamed.model)));
    EXPECT_TRUE(are_equal(velocities(*none.model, 7), velocities(*streamed.model, 7)));
    EXPECT_EQ(none.blocks().host_bytes(), 0u);
    // Blocks that stay are copied once, and what they were made from goes.
    Streamed whole(form.file, form.place, {kBlocks, 0});
    whole.copier->settle();
    EXPECT_EQ(whole.blocks().host_bytes(), 0u);
  }
}

// Through the mapping a file that was cut would end the process.
TEST_F(StreamedForms, AFileThatIsCutIsNamed) {
  for (const Form& form : forms()) {
    SCOPED_TRACE(form.name);
    const std::filesystem::path path = form.file.tensors().at("blocks.5.ffn.2.weight").file->path(), whole = folder_ / "whole";
    std::filesystem::copy_file(path, whole, std::filesystem::copy_options::overwrite_existing);
    for (const BlockPlan& plan : {BlockPlan{0, 2}, {kBlocks, 0}}) {
      Streamed streamed(form.file, form.place, plan, nullptr, 0, nullptr, /*begins=*/false);
      std::filesystem::resize_file(path, std::filesystem::file_size(path) / 8);
      try {
        velocities(*streamed.model);
        ADD_FAILURE() << "computes from a file that was cut";
      } catch (const ModelError& error) {
        const std::string why = error.what();
        EXPECT_NE(why.find(path.filename().string()), std::string::npos) << why;
        EXPECT_NE(why.find("must stay as it is while it is loaded"), std::string::npos) << why;
      }
      std::filesystem::copy_file(whole, path, std::filesystem::copy_options::overwrite_existing);
    }
  }
}

TEST_F(StreamedForms, AFileThatIsReplacedIsReadOn) {
  for (const Form& form : forms()) {
    SCOPED_TRACE(form.name);
    const std::vector<Tensor> want = resident(form.file, form.place);
    const std::filesystem::path path = form.file.tensors().at("blocks.5.ffn.2.weight").file->path(), aside = folder_ / "aside";
    Streamed streamed(form.file, form.place, {0, 2}, nullptr, 0, nullptr, /*begins=*/false);
    std::filesystem::rename(path, aside);
    std::ofstream(path) << "another file";
    EXPECT_TRUE(are_equal(velocities(*streamed.model), want));
    std::filesystem::rename(aside, path);
  }
}

TEST(StreamedBlocks, AForwardThatBreaksOffLeavesThemUsable) {
  const Checkpoint file = Checkpoint::open(kLow);
  const std::vector<Tensor> want = resident(file, copied());
  for (const BlockPlan& plan : {BlockPlan{0, 2}, {0, 3}, {3, 2}, {6, 0}})
    for (int64_t last = 0; last < kBlocks; ++last) {
      Streamed streamed(file, copied(), plan);
      for (int64_t block = 0; block <= last; ++block) {
        const StreamedBlocks::Use use = streamed.blocks().use(block);
        if (block == last) break;
      }
      EXPECT_TRUE(are_equal(velocities(*streamed.model), want)) << plan.kept << " kept, broken off at block " << last;
    }
}

TEST(StreamedBlocks, WhoWaitsForABlockMayStopAndGoOnLater) {
  struct Stop : std::exception {};
  const Checkpoint file = Checkpoint::open(kLow);
  const std::vector<Tensor> want = resident(file, copied());
  for (const BlockPlan& plan : {BlockPlan{0, 2}, {3, 2}, {6, 0}}) {
    SCOPED_TRACE(std::to_string(plan.kept) + " kept");
    std::atomic<bool> held = true;
    Streamed streamed(file, copied(), plan, std::make_shared<Copier>(std::make_unique<HeldEngine>(held)));
    int asked = 0;
    streamed.files->ask([&] {
      if (++asked < 3) return;
      held = false;
      throw Stop();
    });
    EXPECT_THROW(velocities(*streamed.model), Stop);
    EXPECT_EQ(asked, 3);
    streamed.files->ask({});
    EXPECT_TRUE(are_equal(velocities(*streamed.model), want));
  }
}

TEST(StreamedBlocks, ACopyThatFailsIsToldAndMadeAgain) {
  const Checkpoint file = Checkpoint::open(kLow);
  const std::vector<Tensor> want = resident(file, copied());
  for (const BlockPlan& plan : {BlockPlan{0, 2}, {3, 2}, {6, 0}})
    for (int64_t at : {1, 3, 30, 70}) {
      int64_t fails_in = at;
      Streamed streamed(file, copied(), plan, std::make_shared<Copier>(std::make_unique<SlowEngine>(&fails_in)));
      try {
        velocities(*streamed.model);
        ADD_FAILURE() << "copy " << at << " did not fail";
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "no copy");
      }
      EXPECT_TRUE(are_equal(velocities(*streamed.model), want)) << plan.kept << " kept, copy " << at;
    }
}

TEST(StreamedBlocks, ANetworkTakesThePlaceOfAnother) {
  const Checkpoint high = Checkpoint::open(kHigh), low = Checkpoint::open(kLow);
  const std::vector<Tensor> want_high = resident(high, copied()), want_low = resident(low, copied());
  ASSERT_FALSE(are_equal(want_high, want_low));
  for (const BlockPlan& plan : {BlockPlan{6, 0}, {4, 2}, {3, 2}, {0, 2}, {0, 3}, {0, 6}}) {
    SCOPED_TRACE(std::to_string(plan.kept) + " kept, " + std::to_string(plan.slots) + " slots");
    Streamed first(high, copied(), plan);
    EXPECT_TRUE(are_equal(velocities(*first.model), want_high));
    Streamed second(low, copied(), plan, first.copier, UINT64_MAX, first.memory);
    first.blocks().hand_over_to(second.blocks());
    EXPECT_TRUE(are_equal(velocities(*first.model), want_high)) << "its last forward";
    // At the switch all that the second one needs first is there: its forward makes no copy but those of the ring.
    const int64_t before = second.jobs(), others = kBlocks - plan.kept;
    EXPECT_TRUE(are_equal(velocities(*second.model), want_low));
    EXPECT_EQ(second.jobs() - before, others > plan.slots ? others : 0);
    // And back, without having been told.
    first.blocks().keep();
    EXPECT_TRUE(are_equal(velocities(*first.model), want_high));
    EXPECT_TRUE(are_equal(velocities(*second.model), want_low));
  }
}

TEST(StreamedBlocks, ANetworkMayGoWhileItIsCopied) {
  const Checkpoint high = Checkpoint::open(kHigh), low = Checkpoint::open(kLow);
  const auto copier = std::make_shared<Copier>(std::make_unique<SlowEngine>());
  std::optional<Streamed> first(std::in_place, high, copied(), BlockPlan{2, 2}, copier);
  std::optional<Streamed> second(std::in_place, low, copied(), BlockPlan{2, 2}, copier, UINT64_MAX, first->memory);
  first->blocks().hand_over_to(second->blocks());
  velocities(*first->model);
  first->blocks().keep();
  second.reset();
  EXPECT_TRUE(are_equal(velocities(*first->model), resident(high, copied())));
  second.emplace(low, copied(), BlockPlan{2, 2}, copier, UINT64_MAX, first->memory);
  first.reset();
  EXPECT_TRUE(are_equal(velocities(*second->model), resident(low, copied())));
}

TEST(StreamedBlocks, TheTextEncoderIsStreamedToo) {
  const Checkpoint file = Checkpoint::open(kFolder / "models_t5_umt5-xxl-enc-bf16.pth");
  const auto build = [&](Weights& weights) {
    auto encoder = std::make_unique<Umt5Encoder>(weights.root(), at::kFloat);
    weights.finish();
    return encoder;
  };
  Weights whole(file, copied()), planned(file, copied());
  const auto want = build(whole);
  planned.plan(StreamedBlocks::kBlocks);
  const auto encoder = build(planned);
  const auto blocks = int64_t(encoder->blocks.size());
  const auto memory = std::make_shared<BlockMemory>(StreamedBlocks::sizes(planned, blocks),
                                                    BlockPlan{0, std::min<int64_t>(2, blocks)}, at::kCPU);
  encoder->streamed =
      std::make_shared<StreamedBlocks>(planned, memory, std::make_shared<Copier>(std::make_unique<SlowEngine>()),
                                       std::make_shared<HostRoom>(UINT64_MAX));
  const std::vector<int64_t> ids = {7, 3, 11, 1};
  for (int i = 0; i < 2; ++i) EXPECT_TRUE((*encoder)(ids).equal((*want)(ids)));
}

TEST(BlockMemory, KeptBlocksAreSpreadEvenly) {
  EXPECT_EQ(streamed_of(6, 6), std::vector<int64_t>{});
  EXPECT_EQ(streamed_of(6, 0), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(streamed_of(6, 3), (std::vector<int64_t>{1, 3, 5}));
  EXPECT_EQ(streamed_of(40, 36), (std::vector<int64_t>{9, 19, 29, 39}));
}

TEST(BlockMemory, TakesWhatThePlanSays) {
  const std::vector<uint64_t> sizes = {256, 1024, 512, 2048};
  EXPECT_EQ(block_bytes(sizes, {4, 0}), 3840u);
  EXPECT_EQ(block_bytes(sizes, {2, 2}), 256 + 512 + 2 * 2048u);  // 1 and 3 are streamed
  EXPECT_EQ(block_bytes(sizes, {0, 3}), 3 * 2048u);
  for (const BlockPlan& plan : {BlockPlan{4, 0}, {2, 2}, {0, 3}})
    EXPECT_EQ(BlockMemory(sizes, plan, at::kCPU).bytes(), block_bytes(sizes, plan));
  for (const BlockPlan& plan : {BlockPlan{5, 0}, {-1, 2}, {0, 1}, {0, 5}, {2, 1}, {3, 2}})
    EXPECT_THROW(block_bytes(sizes, plan), std::invalid_argument) << plan.kept << " " << plan.slots;
}

TEST(BlockMemory, OfAnotherNetworkIsRefused) {
  const Checkpoint file = Checkpoint::open(kLow);
  const auto memory =
      std::make_shared<BlockMemory>(std::vector<uint64_t>(size_t(kBlocks), 256), BlockPlan{0, 2}, at::kCPU);
  EXPECT_THROW(Streamed(file, copied(), {0, 2}, nullptr, 0, memory), std::invalid_argument);
}

}  // namespace
}  // namespace wan
