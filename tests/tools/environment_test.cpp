// What the environment says of the kernels.
#include "tools/cli/environment.h"

#include <c10/core/AllocatorConfig.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include "tests/support.h"

namespace wan {
namespace {

using kernels::Wgmma;

/// The variables as they were come back with the test's end.
class Environment : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      before_.emplace_back(name, value ? std::optional<std::string>(value) : std::nullopt);
      unsetenv(name);
    }
  }
  void TearDown() override {
    for (const auto& [name, value] : before_) value ? setenv(name, value->c_str(), 1) : unsetenv(name);
  }
  static void set(const char* name, const char* value) { setenv(name, value, 1); }
  static std::string complaint() {
    try {
      options_of_environment();
    } catch (const EnvironmentError& error) {
      return error.what();
    }
    return "";
  }

 private:
  static constexpr const char* kNames[] = {
      "WAN_KERNELS",        "WAN_WGMMA",       "WAN_ATTENTION_OFF", "XDG_CACHE_HOME", "HOME", "PYTORCH_CUDA_ALLOC_CONF",
      "PYTORCH_ALLOC_CONF", "WAN_EXPANDER_KEY"};
  std::vector<std::pair<const char*, std::optional<std::string>>> before_;
};

TEST_F(Environment, UnsetAndEmptyAreTheDefaults) {
  for (bool empty : {false, true}) {
    if (empty)
      for (const char* name : {"WAN_KERNELS", "WAN_WGMMA", "WAN_ATTENTION_OFF"}) set(name, "");
    const kernels::Options options = options_of_environment();
    EXPECT_FALSE(options.reference);
    EXPECT_EQ(options.wgmma, Wgmma::Measured);
    EXPECT_TRUE(options.attention_off.empty());
  }
}

TEST_F(Environment, EachVariableIsRead) {
  set("WAN_KERNELS", "reference");
  set("WAN_ATTENTION_OFF", "cudnn,half-sums");
  for (auto [word, use] : {std::pair{"off", Wgmma::Off}, {"measured", Wgmma::Measured}, {"on", Wgmma::On}}) {
    set("WAN_WGMMA", word);
    const kernels::Options options = options_of_environment();
    EXPECT_EQ(options.wgmma, use);
    EXPECT_TRUE(options.reference);
    EXPECT_EQ(options.attention_off, (std::vector<std::string>{"cudnn", "half-sums"}));
  }
  set("WAN_KERNELS", "fused");
  EXPECT_FALSE(options_of_environment().reference);
}

TEST_F(Environment, AnUnknownValueIsNamedWithWhatIsWanted) {
  set("WAN_KERNELS", "Reference");
  EXPECT_EQ(complaint(), "[WAN_KERNELS] must be fused or reference, got Reference");
  set("WAN_KERNELS", "");
  set("WAN_WGMMA", "1");
  EXPECT_EQ(complaint(), "[WAN_WGMMA] must be off, measured or on, got 1");
  set("WAN_WGMMA", "");
  for (const char* value : {"cudnn,triton", "cudnn, mma", "cudnn,,mma", "reference"}) {
    set("WAN_ATTENTION_OFF", value);
    EXPECT_EQ(complaint(),
              std::string("[WAN_ATTENTION_OFF] must be names out of cudnn, flash, efficient, mma, wgmma or "
                          "half-sums with commas between, got ") +
                  value);
  }
}

TEST_F(Environment, TheCacheIsTheUsers) {
  EXPECT_EQ(attention_cache_path(), "");
  EXPECT_EQ(preview_cache_path(), "");
  set("HOME", "/home/fox");
  EXPECT_EQ(attention_cache_path(), "/home/fox/.cache/wan-infer/attention.json");
  set("XDG_CACHE_HOME", "/cache");
  EXPECT_EQ(attention_cache_path(), "/cache/wan-infer/attention.json");
  EXPECT_EQ(preview_cache_path(), "/cache/wan-infer/previews");
  set("XDG_CACHE_HOME", "");
  EXPECT_EQ(attention_cache_path(), "/home/fox/.cache/wan-infer/attention.json");
}

TEST_F(Environment, SegmentsGrowUnlessTheUserSaysOtherwise) {
  TemporaryFolder root;
  EXPECT_EQ(allocator_settings(root.path()), "expandable_segments:True");
  c10::CachingAllocator::setAllocatorSettings(allocator_settings(root.path()));
  EXPECT_TRUE(c10::CachingAllocator::AcceleratorAllocatorConfig::use_expandable_segments())
      << "libtorch knows the word";
  for (const char* variable : {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"}) {
    set(variable, "max_split_size_mb:128");
    EXPECT_EQ(allocator_settings(root.path()), "");
    unsetenv(variable);
  }
  std::filesystem::create_directories(root / "dev");
  std::ofstream(root / "dev/dxg");
  EXPECT_EQ(allocator_settings(root.path()), "") << "below Windows";
}

TEST_F(Environment, TheKeyOfALanguageServerIsOneWord) {
  EXPECT_EQ(expander_key(), "");
  set("WAN_EXPANDER_KEY", "sk-a_B.1/2+3=");
  EXPECT_EQ(expander_key(), "sk-a_B.1/2+3=");
  for (const std::string& wrong :
       {std::string("a b"), std::string("a\r\nx: y"), std::string("\xc3\xa4"), std::string(5000, 'a')}) {
    set("WAN_EXPANDER_KEY", wrong.c_str());
    try {
      expander_key();
      ADD_FAILURE() << wrong;
    } catch (const EnvironmentError& error) {
      EXPECT_EQ(std::string(error.what()).find(wrong), std::string::npos) << "a secret is not quoted";
    }
  }
}

}  // namespace
}  // namespace wan
