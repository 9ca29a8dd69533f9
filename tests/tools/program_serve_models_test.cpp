// wan-serve looks at its models before it serves: a folder that cannot render its task is told at the start.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const std::string kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

Words flags(const Words& models, const Words& more = {}) {
  Words words = {"--data", "data", "--device", "cpu", "--listen", "127.0.0.1:0"};
  for (const std::string& model : models) words.insert(words.end(), {"--model", model});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// What it is refused with. It listens nowhere and makes no data folder.
std::string refusal(const TemporaryFolder& folder, const Words& models) {
  const Outcome ended = Process("wan-serve", flags(models), folder.path()).finish();
  EXPECT_EQ(ended.code, 2) << ended.err;
  EXPECT_FALSE(fs::exists(folder / "data"));
  return ended.err;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

TEST(ProgramServeModels, AFolderThatIsNoModelIsRefused) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "docs");
  std::ofstream(folder / "docs/readme.md") << "words";
  const std::string empty = refusal(folder, {"t2v=" + (folder / "docs").string()});
  EXPECT_TRUE(has(empty, "wan-serve: [--model] of t2v cannot be used: [docs] must hold checkpoints, holds none"))
      << empty;

  const std::string other = refusal(folder, {"t2v=" + kNano, "i2v=" + kNano});
  EXPECT_TRUE(has(other, "[--model] of i2v cannot be used: ")) << other;
  EXPECT_TRUE(has(other, "is no model for it: text-to-video model")) << other;
  EXPECT_FALSE(has(other, "of t2v")) << other;

  // What is missing is named without flags that wan-serve has not.
  fs::copy(kNano, folder / "part", fs::copy_options::recursive);
  fs::remove(folder / "part/Wan2.1_VAE.pth");
  const std::string part = refusal(folder, {"t2v=" + (folder / "part").string()});
  EXPECT_TRUE(has(part, "[--model] of t2v cannot be used: [part] lacks the VAE")) << part;
  EXPECT_FALSE(has(part, "--vae")) << part;
  EXPECT_TRUE(has(part, "--render PART=FILE")) << part;
}

TEST(ProgramServeModels, WhatCanRenderIsServed) {
  const TemporaryFolder folder;
  Process server("wan-serve", flags({"t2v=" + kNano, "v2v=" + kNano}), folder.path());
  const bool listens = server.wait_for("listens at http://127.0.0.1:");
  server.signal(SIGTERM);
  const Outcome ended = server.finish();
  EXPECT_TRUE(listens) << ended.err;
  EXPECT_EQ(ended.code, 0) << ended.err;
}

}  // namespace
}  // namespace wan
