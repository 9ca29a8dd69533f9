// Which kernels a replay uses, of what can be told without a GPU.
#include "engine/sampling/attention_record.h"

#include <gtest/gtest.h>

namespace wan {
namespace {

TEST(AttentionChoice, AReplayMultipliesAsTheVideoDid) {
  using kernels::Wgmma;
  const std::map<std::string, std::string> none, plain = {{"b1 h40 q75600 k75600 d128 BFloat16", "cudnn"}},
                                                 hopper = {{"8-bit products", "wgmma"}};
  for (Wgmma now : {Wgmma::Off, Wgmma::Measured, Wgmma::On}) {
    EXPECT_EQ(wgmma_of(none, now), now);
    EXPECT_EQ(wgmma_of(hopper, now), now == Wgmma::Off ? Wgmma::Off : Wgmma::On);
    EXPECT_NE(wgmma_of(plain, now), Wgmma::On);
  }
}

TEST(AttentionChoice, TheCpuHasNone) {
  const Placement placement;
  EXPECT_TRUE(attention_choices(placement).empty());
  pin_attention(placement, {{"8-bit products", "wgmma"}});
  EXPECT_NE(kernels::wgmma(), kernels::Wgmma::On);
}

}  // namespace
}  // namespace wan
