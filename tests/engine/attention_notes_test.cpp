// Choices of attention that come from a record.
#include "engine/job/attention_notes.h"

#include <gtest/gtest.h>

#include "kernels/attention/selector.h"
#include "tests/support.h"

namespace wan {
namespace {

TEST(AttentionNotes, BackEndsOfAnotherVersionAreLeftOut) {
  AttentionChoices choices = {{"b1 h40 q75600 k75600 d128 BFloat16", "cudnn"},
                              {"b1 h40 q75600 k512 d128 BFloat16", "of-tomorrow"},
                              {"b1 h1 q3600 k3600 d384 Half", "reference"},
                              {kernels::kEightBits, "wgmma"},
                              {kernels::kEightBitSums + std::string("b1 h40 q75600 k75600 d128 BFloat16"), "half-sums"},
                              {kernels::kEightBitSums + std::string("b1 h40 q32760 k32760 d128 BFloat16"), "cudnn"}};
  AttentionChoices known = choices;
  known.erase("b1 h40 q75600 k512 d128 BFloat16");
  known.erase(kernels::kEightBitSums + std::string("b1 h40 q32760 k32760 d128 BFloat16"));
  EXPECT_EQ(drop_unknown(choices), (std::set<std::string>{"cudnn", "of-tomorrow"})) << "cuDNN sums no 8 bits";
  EXPECT_EQ(choices, known) << "what is known stays pinned";
  EXPECT_TRUE(drop_unknown(choices).empty());
}

TEST(AttentionNotes, WhatIsLeftOutOnACardIsNoted) {
  const AttentionChoices both = {{"b1 h1 q3600 k3600 d384 Half", "of-tomorrow"},
                                 {"b1 h40 q75600 k75600 d128 BFloat16", "cudnn"}};
  for (const at::Device device : {at::Device(at::kCPU), at::Device(at::kCUDA, 0)}) {
    AttentionChoices choices = both;
    Notes notes;
    leave_out_unknown(choices, device, notes);
    EXPECT_EQ(choices.size(), 1u);
    ASSERT_EQ(notes.list().size(), device.is_cuda() ? 1u : 0u);
    if (device.is_cuda()) {
      EXPECT_EQ(notes.list()[0].subject, "attention");
      EXPECT_NE(notes.list()[0].text.find("'of-tomorrow'"), std::string::npos) << notes.list()[0].text;
    }
  }
}

TEST(AttentionNotes, AWorkFolderOfAnotherVersionIsGoneOnWith) {
  TemporaryFolder folder;
  WorkFolder work(folder / "a.mp4.work", 1);
  const std::string wanted = "b1 h1 q3600 k3600 d384 Half";
  work.note("piece", {{"attention", {{wanted, "of-tomorrow"}}}});
  Placement placement;
  const kernels::AttentionBackend flash{"flash", [](const kernels::AttentionCase&) { return true; }, {}};
  placement.context = std::make_shared<kernels::Context>(
      kernels::Options(), at::kCPU,
      std::make_unique<kernels::AttentionSelector>(std::vector{flash}, "card", kernels::AttentionSelector::Timer()));
  Notes notes;
  AttentionNotes attention(work);
  EXPECT_NO_THROW(attention.pin(placement, "piece", {}, notes));
  EXPECT_EQ(attention.noted("piece").at(wanted), "of-tomorrow") << "what was computed with it stays said";
}

}  // namespace
}  // namespace wan
