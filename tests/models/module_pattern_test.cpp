// Keys of PEFT's alpha_pattern: which modules they mean, and which are refused.
#include "models/weights/lora/module_pattern.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace wan::lora {
namespace {

constexpr const char* kModule = "blocks.0.attn1.to_q";

TEST(ModulePattern, MeansWhatPeftMatches) {
  for (const char* key :
       {"blocks.0.attn1.to_q", "attn1.to_q", "to_q", ".ttn1.to_q", R"(blocks\.[0-9]+\.attn1\.to_(q|k))",
        "^blocks.0.attn1.to_q", ".*to_q", "to_q$", R"((?:x|attn1)\.to_q)", R"(attn\d\.to_q)"})
    EXPECT_TRUE(module_pattern(key)(kModule)) << key;
  for (const char* key :
       {"ttn1.to_q", "attn1", "", "x.blocks.0.attn1.to_q", R"(attn1\.to_(k|v))", "^attn1.to_q", "to_"})
    EXPECT_FALSE(module_pattern(key)(kModule)) << key;
}

TEST(ModulePattern, WhatCannotBeReadOrCouldTakeLongIsRefused) {
  for (const std::string& key : {std::string("(to_q"), std::string("[to_q"), std::string("to_q{1,3}"),
                                 std::string("(?=to_q).*"), "(" + std::string(200, 'a') + ")"})
    EXPECT_THROW(module_pattern(key), std::invalid_argument) << key;
}

TEST(ModulePattern, NestedRepeatsEndSoon) {
  const ModulePattern pattern = module_pattern("((a*)*)*b");  // a matcher that goes back takes 2^100 steps
  EXPECT_FALSE(pattern(std::string(100, 'a')));
  EXPECT_TRUE(pattern(std::string(100, 'a') + "b"));
  EXPECT_FALSE(pattern(std::string(1'000'000, 'a') + "b")) << "no module has so long a name";
}

}  // namespace
}  // namespace wan::lora
