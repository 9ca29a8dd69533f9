// Choices of attention that come from a record.
#include "engine/job/attention_notes.h"

#include <gtest/gtest.h>

namespace wan {
namespace {

TEST(AttentionNotes, BackEndsOfAnotherVersionAreLeftOut) {
  AttentionChoices choices = {{"b1 h40 q75600 k75600 d128 BFloat16", "cudnn"},
                              {"b1 h40 q75600 k512 d128 BFloat16", "of-tomorrow"},
                              {"b1 h1 q3600 k3600 d384 Half", "reference"},
                              {kernels::kEightBits, "wgmma"}};
  AttentionChoices known = choices;
  known.erase("b1 h40 q75600 k512 d128 BFloat16");
  EXPECT_EQ(drop_unknown(choices), std::set<std::string>{"of-tomorrow"});
  EXPECT_EQ(choices, known) << "what is known stays pinned";
  EXPECT_TRUE(drop_unknown(choices).empty());
}

}  // namespace
}  // namespace wan
