// What streaming leaves in the page cache: blocks that are read again, and nothing of those that stay on the device.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include <gtest/gtest.h>

#include "models/wan/model.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/streamed_blocks.h"
#include "tests/support.h"

namespace wan {
namespace {

constexpr int64_t kBlocks = 6;

class StreamedCache : public testing::Test {
 protected:
  StreamedCache() {
    std::map<std::string, Tensor> tensors;
    const Checkpoint nano = Checkpoint::open(expert);
    for (const auto& entry : nano.tensors()) tensors[entry.first] = nano.map(entry.first).to(at::kFloat).contiguous();
    write_safetensors(path, tensors);
  }

  void make_cold() const {
    const int file = open(path.c_str(), O_RDONLY);
    fdatasync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
  }
  /// Of the blocks' feed-forward weights: pages in memory, from 0 to 1.
  double cached(const Checkpoint& checkpoint) const {
    const auto page = uint64_t(sysconf(_SC_PAGESIZE));
    int64_t there = 0, all = 0;
    for (const auto& [name, tensor] : checkpoint.tensors()) {
      if (!name.starts_with("blocks.") || name.find(".ffn.") == name.npos || tensor.bytes() < 4 * page) continue;
      const uint64_t begin = (tensor.offset + page - 1) / page * page,
                     pages = (tensor.offset + tensor.bytes() - begin) / page;
      std::vector<unsigned char> flags(pages);
      if (mincore(const_cast<char*>(tensor.file->bytes().data()) + begin, pages * page, flags.data()) != 0) return -1;
      there += std::count_if(flags.begin(), flags.end(), [](unsigned char flag) { return flag & 1; });
      all += int64_t(pages);
    }
    return double(there) / double(all);
  }

  /// The share that a forward leaves, of a file that was not in memory.
  double left_by(const BlockPlan& plan) const {
    make_cold();
    const Checkpoint file = Checkpoint::open(path);
    {
      Weights weights(file, {.mapped = false});
      weights.plan(StreamedBlocks::kBlocks);
      const WanModel model(weights.root(), WanConfig::read(expert / "config.json"), at::kFloat);
      weights.finish();
      const auto memory = std::make_shared<BlockMemory>(StreamedBlocks::sizes(weights, kBlocks), plan, at::kCPU);
      StreamedBlocks blocks(weights, memory, std::make_shared<Copier>(cpu_copy_engine()),
                            std::make_shared<HostRoom>(UINT64_MAX));
      blocks.begin();
      for (int64_t block = 0; block < kBlocks; ++block) const StreamedBlocks::Use use = blocks.use(block);
    }
    return cached(file);
  }

  TemporaryFolder folder;
  const std::filesystem::path path = folder / "floats.safetensors",
                              expert = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/low_noise_model";
};

TEST_F(StreamedCache, KeepsWhatIsReadAgainAndNothingElse) {
  make_cold();
  if (cached(Checkpoint::open(path)) > 0.1) GTEST_SKIP() << "this file system keeps its pages";
  EXPECT_GT(left_by({0, 2}), 0.9) << "streamed, in the form of the file";
  EXPECT_LT(left_by({kBlocks, 0}), 0.3) << "read once";
}

}  // namespace
}  // namespace wan
