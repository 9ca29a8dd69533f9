// Guidance of speech in whole renders.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/media/png.h"
#include "engine/request/parse.h"
#include "tests/support/render.h"

namespace wan {
namespace {

// Unlike of the other tasks, where only 1 makes one pass.
TEST(RenderSpeech, AGuidanceBelowOneIsNone) {
  const c10::InferenceMode inference;
  const TemporaryFolder folder;
  write_png(folder / "face.png", moving_picture(1, 64, 64)[0]);
  write_sound(folder / "voice.wav", 16000, 1);
  const auto rendered = [&](const char* out, double guidance) {
    const nlohmann::json fields = {{"model", WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-S2V-14B"},
                                   {"prompt", "a face"},
                                   {"image_url", "face.png"},
                                   {"audio_url", "voice.wav"},
                                   {"out", out},
                                   {"unlocked", true},
                                   {"width", 64},
                                   {"height", 64},
                                   {"num_inference_steps", 2},
                                   {"guidance_scale", guidance},
                                   {"seed", 1},
                                   {"device", "cpu"},
                                   {"metadata", "none"}};
    Silent silent;
    return bytes_of(render(parse(Task::S2V, fields, {.folder = folder.path()}), {}, Log{}, silent));
  };
  const std::string plain = rendered("plain.mp4", 1);
  EXPECT_TRUE(rendered("below.mp4", 0) == plain);
  EXPECT_FALSE(rendered("above.mp4", 2) == plain) << "guidance would be seen";
}

}  // namespace
}  // namespace wan
