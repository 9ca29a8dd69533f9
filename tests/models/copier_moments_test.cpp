// In which order a device works: copies begin behind the last use of their memory, uses behind the end of their copy.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "models/wan/model.h"
#include "models/weights/streamed_blocks.h"

namespace wan {
namespace {

using Numbers = std::vector<int64_t>;

/// A device whose moments are numbered: those of the computing thread from 1 on, the ends of copies from 1001 on.
class NumberedEngine : public CopyEngine {
 public:
  struct Seen {
    std::mutex mutex;
    int64_t computed = 0, copied = 1000;
    Numbers begun, waited;  // 0: no moment
  };
  explicit NumberedEngine(std::shared_ptr<Seen> seen) : seen_(std::move(seen)) {}

  Moment now() override { return numbered(seen_->computed); }
  Moment end() override { return numbered(seen_->copied); }
  void begin(const Moment& moment) override { note(seen_->begun, moment); }
  void wait_for(const Moment& moment) override { note(seen_->waited, moment); }
  void copy(const Tensor& from, const Tensor& to) override { engine_->copy(from, to); }

 private:
  Moment numbered(int64_t& last) {
    const std::lock_guard lock(seen_->mutex);
    return std::make_shared<int64_t>(++last);
  }
  void note(Numbers& numbers, const Moment& moment) {
    const std::lock_guard lock(seen_->mutex);
    numbers.push_back(moment ? *static_cast<const int64_t*>(moment.get()) : 0);
  }

  std::shared_ptr<Seen> seen_;
  std::unique_ptr<CopyEngine> engine_ = cpu_copy_engine();
};

void nothing(CopyEngine&, Copied&) {}

TEST(CopierMoments, AJobBeginsBehindItsMomentAndWhoWaitsComesBehindItsEnd) {
  const auto seen = std::make_shared<NumberedEngine::Seen>();
  Copier copier(std::make_unique<NumberedEngine>(seen));
  const auto first = copier.add(nothing, nullptr), second = copier.add(nothing, copier.now()),
             third = copier.add(nothing, copier.now());
  copier.wait(*third);
  copier.wait(*first);
  copier.cancel(*second);  // is done: what comes next must not run before it
  EXPECT_EQ(seen->begun, (Numbers{0, 1, 2}));
  EXPECT_EQ(seen->waited, (Numbers{1003, 1001, 1002}));
}

TEST(CopierMoments, AJobThatFailedIsStillWaitedForWhereItIsGivenUp) {
  const auto seen = std::make_shared<NumberedEngine::Seen>();
  Copier copier(std::make_unique<NumberedEngine>(seen));
  const auto bad = copier.add([](CopyEngine&, Copied&) { throw std::runtime_error("gone"); }, nullptr);
  EXPECT_THROW(copier.wait(*bad), std::runtime_error);
  copier.cancel(*bad);
  EXPECT_EQ(seen->waited, (Numbers{1001})) << "the copies that it had queued before";
}

TEST(CopierMoments, ABlocksMemoryIsWrittenBehindItsLastUse) {
  constexpr int64_t kBlocks = 6, kSlots = 2;
  const std::filesystem::path folder = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/low_noise_model";
  const auto seen = std::make_shared<NumberedEngine::Seen>();
  const auto copier = std::make_shared<Copier>(std::make_unique<NumberedEngine>(seen));
  Weights weights(Checkpoint::open(folder), {.mapped = false});
  weights.plan(StreamedBlocks::kBlocks);
  const WanModel model(weights.root(), WanConfig::read(folder / "config.json"), at::kFloat);
  weights.finish();
  const auto memory =
      std::make_shared<BlockMemory>(StreamedBlocks::sizes(weights, kBlocks), BlockPlan{2, kSlots}, at::kCPU);
  StreamedBlocks blocks(weights, memory, copier, std::make_shared<HostRoom>(UINT64_MAX));
  blocks.begin();
  for (int64_t forward = 0; forward < 2; ++forward)
    for (int64_t block = 0; block < kBlocks; ++block) const StreamedBlocks::Use use = blocks.use(block);
  copier->settle();
  // Two kept blocks and two slots at first, to memory that nothing has used. Each release is a moment; behind that of a
  // streamed block its slot is filled again.
  Numbers begun = {0, 0, 0, 0}, streamed = memory->streamed();
  for (int64_t forward = 0; forward < 2; ++forward)
    for (int64_t block : streamed) begun.push_back(forward * kBlocks + block + 1);
  EXPECT_EQ(seen->begun, begun);
  // A use waits for the end of the copy of its own block: of a kept one always for that of its only copy.
  std::map<int64_t, int64_t> kept;
  Numbers of_streamed, waited;
  int64_t end = 1000;
  for (int64_t block = 0; block < kBlocks; ++block)
    if (memory->is_kept(block))
      kept[block] = ++end;
    else if (memory->place(block) < kSlots)
      of_streamed.push_back(++end);
  for (int64_t refill = 0; refill < 2 * std::ssize(streamed); ++refill) of_streamed.push_back(++end);
  size_t next = 0;
  for (int64_t use = 0; use < 2 * kBlocks; ++use)
    waited.push_back(memory->is_kept(use % kBlocks) ? kept.at(use % kBlocks) : of_streamed.at(next++));
  // Once more where the slot is filled again: what was in it is given up.
  Numbers got = seen->waited;
  got.erase(std::unique(got.begin(), got.end()), got.end());
  EXPECT_EQ(got, waited);
}

}  // namespace
}  // namespace wan
