// How often a byte of a network lies in host memory while it is loaded: in the ring, and once in what is kept. Pages of
// files are the system's and do not count.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>

#include "models/wan/model.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/streamed_blocks.h"
#include "tests/support.h"
#include "tools/bench/counted_memory.h"

namespace wan {
namespace {

constexpr int64_t kBlocks = 4, kSlack = 1 << 20;  // bytes: biases, norms, and what is no tensor of a file
constexpr WanConfig kConfig = {512, 2048, 256, 16, 16, 4, kBlocks, 512, 1e-6};
constexpr auto kRing = int64_t(6) * (16 << 20);  // six buffers

/// The CPU's, with what a card's has: memory for rings is its own and counted, and where `pins` what is kept is copied
/// once more, into memory that would be pinned and is ordinary here.
class CountingEngine : public CopyEngine {
 public:
  CountingEngine(std::shared_ptr<std::atomic<int64_t>> ring, bool pins)
      : pins_(pins), engine_(cpu_copy_engine()), ring_([ring](size_t bytes) {
          *ring += int64_t(bytes);  // goes back with the engine
          return ordinary_memory(bytes);
        }) {}
  Moment now() override { return nullptr; }
  void wait_for(const Moment&) override {}
  void begin(const Moment&) override {}
  void copy(const Tensor& from, const Tensor& to) override { engine_->copy(from, to); }
  Moment end() override { return nullptr; }
  Tensor kept(const Tensor& tensor) override { return pins_ ? tensor.clone() : tensor; }
  std::unique_ptr<PieceCopier> pieces(size_t leases) override { return engine_->pieces(leases); }
  std::shared_ptr<char> ring_memory(size_t bytes) override { return ring_.take(bytes); }

 private:
  const bool pins_;
  std::unique_ptr<CopyEngine> engine_;
  RingMemory ring_;
};

class HostCopies : public testing::Test {
 protected:
  /// A nano expert made wide, with four of its blocks: matrices in bf16 as it has them, or all in float32.
  Checkpoint wide(bool floats) const {
    const Checkpoint nano = Checkpoint::open(WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/low_noise_model");
    std::map<std::string, Tensor> tensors;
    for (const auto& [name, tensor] : nano.tensors()) {
      if (name.starts_with("blocks.4.") || name.starts_with("blocks.5.")) continue;
      std::vector<int64_t> shape = tensor.shape;
      for (int64_t& size : shape)
        if (size == 128 || size == 512 || size == 768) size *= 4;
      tensors[name] = at::full(shape, 0.01, floats ? at::kFloat : tensor.dtype);
    }
    const std::filesystem::path path = folder_ / (floats ? "floats.safetensors" : "halves.safetensors");
    write_safetensors(path, tensors);
    return Checkpoint::open(path);
  }
  static int64_t bytes_of(const Checkpoint& file, bool of_blocks) {
    int64_t bytes = 0;
    for (const auto& [name, tensor] : file.tensors())
      bytes += name.starts_with(StreamedBlocks::kBlocks) == of_blocks ? int64_t(tensor.bytes()) : 0;
    return bytes;
  }
  static int64_t largest_outside(const Checkpoint& file) {
    int64_t most = 0;
    for (const auto& [name, tensor] : file.tensors())
      if (!name.starts_with(StreamedBlocks::kBlocks)) most = std::max(most, int64_t(tensor.bytes()));
    return most;
  }

  /// Host memory in bytes. What lies on the device, which is the same memory here, is taken off.
  struct Taken {
    int64_t building = 0;        // the most beside the finished network, while what is in no block is loaded
    int64_t most = 0, rest = 0;  // while blocks are loaded and used, and after it
    int64_t kept = 0;            // StreamedBlocks::host_bytes
    int64_t ring = 0;
  };
  /// Loads the network in bf16 with all blocks streamed through two slots, and goes through them twice.
  static Taken loaded(const Checkpoint& file, bool pins, uint64_t room) {
    Taken taken;
    const auto ring = std::make_shared<std::atomic<int64_t>>(0);
    CountedMemory memory;
    const int64_t before = memory.now();
    memory.begin();
    Weights weights(file, {.compute = at::kBFloat16, .mapped = false});
    weights.plan(StreamedBlocks::kBlocks);
    const WanModel model(weights.root(), kConfig, at::kBFloat16);
    weights.finish();
    taken.building = memory.peak() - memory.now();
    EXPECT_GT(memory.now() - before, 0) << "nothing is counted";
    const auto device =
        std::make_shared<BlockMemory>(StreamedBlocks::sizes(weights, kBlocks), BlockPlan{0, 2}, at::kCPU);
    const auto copier = std::make_shared<Copier>(std::make_unique<CountingEngine>(ring, pins));
    const int64_t on_device = memory.now();
    memory.begin();
    StreamedBlocks blocks(weights, device, copier, std::make_shared<HostRoom>(room));
    blocks.begin();
    for (int64_t use = 0; use < 2 * kBlocks; ++use) const StreamedBlocks::Use used = blocks.use(use % kBlocks);
    copier->settle();
    taken.most = memory.peak() - on_device;
    taken.rest = memory.now() - on_device;
    taken.kept = int64_t(blocks.host_bytes());
    taken.ring = *ring;
    return taken;
  }

  TemporaryFolder folder_;
};

TEST_F(HostCopies, WhatIsCastIsInTheRingAndOnceInWhatIsKept) {
  const Checkpoint file = wide(/*floats=*/true);
  const int64_t blocks = bytes_of(file, true), all = blocks + bytes_of(file, false);
  ASSERT_GT(blocks, 32 << 20) << "large against what is no tensor";
  const Taken taken = loaded(file, /*pins=*/false, UINT64_MAX);
  EXPECT_NEAR(double(taken.kept), double(blocks) / 2, double(kSlack)) << "each value once, in bf16";
  EXPECT_LE(taken.most, taken.kept + kSlack) << "nothing beside it at any time";
  EXPECT_NEAR(double(taken.rest), double(taken.kept), double(kSlack));
  EXPECT_GT(taken.ring, 0);
  EXPECT_LE(taken.ring, kRing);
  EXPECT_LE(taken.most + taken.ring, 2 * all);
}

TEST_F(HostCopies, WhatIsPinnedReplacesWhatWasCastBlockByBlock) {
  const Checkpoint file = wide(/*floats=*/true);
  const int64_t blocks = bytes_of(file, true), all = blocks + bytes_of(file, false);
  const Taken taken = loaded(file, /*pins=*/true, UINT64_MAX);
  EXPECT_NEAR(double(taken.kept), double(blocks) / 2, double(kSlack));
  EXPECT_GT(taken.most, taken.kept + kSlack) << "nothing was pinned";
  EXPECT_LE(taken.most, taken.kept + taken.kept / kBlocks + kSlack) << "more than one block twice";
  EXPECT_NEAR(double(taken.rest), double(taken.kept), double(kSlack)) << "once, in the end";
  EXPECT_LE(taken.most + taken.ring, 2 * all);
}

TEST_F(HostCopies, WhatTheFileHasAndWhatHasNoRoomIsInTheRingAlone) {
  for (const bool floats : {false, true}) {
    SCOPED_TRACE(floats ? "float32, without room" : "bf16, as the device has it");
    const Taken taken = loaded(wide(floats), /*pins=*/true, floats ? 0 : UINT64_MAX);
    EXPECT_LE(taken.kept, kSlack);
    EXPECT_LE(taken.most, kSlack);
    EXPECT_GT(taken.ring, 0);
    EXPECT_LE(taken.ring, kRing);
  }
}

TEST_F(HostCopies, WhatIsInNoBlockIsWholeOnHostOneTensorAtATime) {
  for (const bool floats : {false, true}) {
    SCOPED_TRACE(floats ? "float32" : "bf16");
    const Checkpoint file = wide(floats);
    const int64_t largest = largest_outside(file);
    ASSERT_GT(largest, 2 * kSlack);
    const Taken taken = loaded(file, /*pins=*/false, 0);
    EXPECT_LE(taken.building, largest + kSlack) << "more than the tensor that is read";
    EXPECT_LT(largest + 2 * kSlack, bytes_of(file, false)) << "or all of them would be seen as one";
  }
}

}  // namespace
}  // namespace wan
