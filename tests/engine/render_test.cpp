// Single renders of inputs by URL: what a killed run left is not taken for what the URL gives, and nothing stays
// behind.
#include "engine/job/render.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "engine/base/error.h"
#include "engine/job/fetched.h"
#include "engine/media/video_reader.h"
#include "engine/request/parse.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// The file's bytes as a data URL.
std::string data_url_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string url = "data:video/mp4;base64,";
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  constexpr const char* kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    for (size_t i = at; i < at + 3; ++i) group = group << 8 | (i < bytes.size() ? uint8_t(bytes[i]) : 0);
    for (int shift = 18; shift >= 0; shift -= 6) url += kLetters[group >> shift & 63];
  }
  for (size_t i = 0; i < (3 - bytes.size() % 3) % 3; ++i) url[url.size() - 1 - i] = '=';
  return url;
}

/// Stops like Ctrl-C where `stage` begins.
struct StopAt : Progress {
  explicit StopAt(std::optional<Stage> stage = std::nullopt) : stage(stage) {}
  void at(const Report& report) override {
    if (report.stage == stage) throw Cancelled();
  }
  std::optional<Stage> stage;
};

class RenderByUrl : public testing::Test {
 protected:
  RenderByUrl() {
    request_ = parse({{"task", "v2v"},
                      {"model", WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano"},
                      {"prompt", "a red circle"},
                      {"unlocked", true},
                      {"width", 32},
                      {"height", 32},
                      {"num_frames", 5},
                      {"num_inference_steps", 2},
                      {"resample_fps", true},
                      {"seed", 1},
                      {"device", "cpu"},
                      {"video_url", data_url_of(media_file("aac_sound.mp4"))},
                      {"out", folder_ / "a.mp4"}});
  }

  void run(std::optional<Stage> stop = std::nullopt) {
    StopAt progress(stop);
    render(request_, {}, Log{}, progress);
  }
  void decode() {
    SavedLatents saved = load_latents(latents_path(request_.out));
    StopAt progress;
    decode_saved(saved, request_.out, Placement{}, open_model_folder(request_.model, Task::V2V), {}, Log{}, progress);
  }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.insert(entry.path().filename());
    return names;
  }
  bool has_sound() const { return VideoReader({request_.out, "video_url"}).info().has_audio; }

  TemporaryFolder folder_;
  Request request_;

 private:
  c10::InferenceMode inference_;
};

TEST_F(RenderByUrl, AKilledRunsCopyIsFetchedAfreshAndRemoved) {
  std::ofstream(copy_path(request_.out + ".", request_.video_url)) << "what the URL gave once";
  run();
  EXPECT_TRUE(has_sound());
  EXPECT_EQ(files(), std::set<std::string>{"a.mp4"});
}

TEST_F(RenderByUrl, ADecodeFromLatentsRemovesTheSoundThatWasKeptForThem) {
  const std::string latents = "a.mp4.latents.safetensors";
  EXPECT_THROW(run(Stage::Decode), Cancelled);
  EXPECT_EQ(files(), (std::set<std::string>{latents, latents + ".sound"}));
  EXPECT_THROW(run(Stage::Denoise), Cancelled);
  EXPECT_EQ(files(), (std::set<std::string>{latents, latents + ".sound"})) << "a run that begins again takes nothing";
  decode();
  EXPECT_TRUE(has_sound());
  EXPECT_EQ(files(), (std::set<std::string>{"a.mp4", latents}));
}

TEST_F(RenderByUrl, TheUsersOwnFileStays) {
  request_.video_url = folder_ / "in.mp4";
  fs::copy_file(media_file("aac_sound.mp4"), request_.video_url);
  EXPECT_THROW(run(Stage::Decode), Cancelled);
  decode();
  EXPECT_TRUE(has_sound());
  EXPECT_TRUE(fs::exists(request_.video_url));
}

}  // namespace
}  // namespace wan
