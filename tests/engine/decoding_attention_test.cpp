// What the middle attention of a decoding is computed with: it is in the video's metadata, and is taken again from those.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/job/single.h"
#include "engine/media/metadata.h"
#include "engine/request/parse.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/selector.h"
#include "tests/parts.h"
#include "tests/support.h"
#include "tests/support/job.h"

namespace wan {
namespace {

const std::filesystem::path kModel = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

class DecodingAttention : public testing::Test {
 protected:
  DecodingAttention() {
    at::manual_seed(3);
    const nlohmann::json fields = {{"task", "t2v"},
                                   {"model", kModel.string()},
                                   {"prompt", "a red circle"},
                                   {"unlocked", true},
                                   {"width", 32},
                                   {"height", 48},
                                   {"num_frames", 5},
                                   {"seed", 1},
                                   {"device", "cpu"},
                                   {"out", out_.string()}};
    saved_ = {.latents = at::randn({16, 2, 6, 4}),
              .frames = 5,
              .audio_from = "",
              .record = make_record(parse(fields, {.folder = folder_.path()}), Placement{}, {})};
  }

  /// Decodes where a CPU chooses between two back ends, of which `fastest` takes less time; what the video says then.
  AttentionChoices decoded(const std::string& fastest) {
    calls_.clear();
    std::string last;
    const auto backend = [&](const std::string& name) {
      return kernels::AttentionBackend{name, [](const kernels::AttentionCase&) { return true; },
                                       [&, name](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                 double scale, const at::Tensor& bias) {
                                         ++calls_[last = name];
                                         return kernels::reference::attention(q, k, v, scale, bias);
                                       }};
    };
    const auto timer = [&](const std::function<void()>& run) {
      run();
      return last == fastest ? 1.0 : 2.0;
    };
    Placement placement;
    placement.context =
        std::make_shared<kernels::Context>(kernels::Options(), at::kCPU,
                                           std::make_unique<kernels::AttentionSelector>(
                                               std::vector{backend("flash"), backend("efficient")}, "card", timer));
    Silent silent;
    decode_saved(saved_, out_.string(), placement, parts_of(kModel, Task::T2V), {}, Log{}, silent);
    const AttentionChoices said = parse_record(read_metadata({out_.string(), "out"}), "out").attention;
    std::filesystem::remove(out_);
    return said;
  }

  TemporaryFolder folder_;
  const std::filesystem::path out_ = folder_ / "a.mp4";
  SavedLatents saved_;
  std::map<std::string, int> calls_;

 private:
  c10::InferenceMode inference_;
};

TEST_F(DecodingAttention, IsInTheMetadata) {
  for (const char* fastest : {"flash", "efficient"}) {
    const AttentionChoices said = decoded(fastest);
    ASSERT_EQ(said.size(), 1u) << "the pixels of a latent frame among themselves";
    EXPECT_TRUE(said.begin()->first.starts_with("b1 h1 q32 k32 ")) << said.begin()->first;
    EXPECT_EQ(said.begin()->second, fastest);
  }
}

TEST_F(DecodingAttention, OfARecordIsTakenAgain) {
  saved_.record.attention = decoded("flash");
  saved_.record.attention["b1 h40 q75600 k75600 d128 BFloat16"] = "efficient";  // of the sampling
  EXPECT_EQ(decoded("efficient"), saved_.record.attention);
  EXPECT_EQ(calls_["efficient"], 0) << "the other one is not even tried";
  EXPECT_GT(calls_["flash"], 1);
}

TEST_F(DecodingAttention, OfAnotherVersionIsChosenAnew) {
  const AttentionChoices said = decoded("flash");
  ASSERT_EQ(said.size(), 1u);
  const std::string sampling = "b1 h40 q75600 k75600 d128 BFloat16";
  saved_.record.attention = {{said.begin()->first, "of-tomorrow"}, {sampling, "of-yesterday"}};
  AttentionChoices want = said;
  want[sampling] = "of-yesterday";  // that made the latents
  EXPECT_EQ(decoded("flash"), want) << "the video names what decoded it";
}

}  // namespace
}  // namespace wan
