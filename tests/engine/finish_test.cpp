// What a finished video says of itself and of what came before, and what is refused before any frame is drawn. What
// becomes of its frames is tested in interpolation_job_test.cpp.
#include "engine/job/finish.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/job/frame_chain.h"
#include "engine/media/metadata.h"
#include "engine/media/writer.h"
#include "engine/request/parse.h"
#include "engine/residency/find_parts.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/interpolators.h"
#include "tests/support/job.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

class FinishedVideo : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    weights_ = new TemporaryFolder;
    write_interpolator(*weights_ / "film_net.safetensors", "film");
  }
  static void TearDownTestSuite() { delete weights_; }

  /// Finishes the input with a frame between each two.
  void finish(nlohmann::json more = nlohmann::json::object()) {
    nlohmann::json fields = {{"prompt", ""},
                             {"video_url", in_},
                             {"interpolator_model", "film"},
                             {"num_interpolated_frames", 1},
                             {"interpolator", weights_->path().string()},
                             {"out", out_}};
    fields.update(more);
    const Request request = parse(Task::V2V, fields, {.need_model = false});
    Silent silent;
    finish_video(request, out_, chain_of(request, interpolator_of(request), Placement{}), {}, log_, silent);
  }
  nlohmann::json said() const { return nlohmann::json::parse(read_metadata({out_, "out"})); }

  static TemporaryFolder* weights_;
  const TemporaryFolder folder_;
  const std::string in_ = folder_ / "in.mp4", out_ = folder_ / "out.mp4";
  std::vector<std::string> events_;
  const Log log_{[this](std::string_view event, const Log::Fields&) { events_.emplace_back(event); }};

 private:
  c10::InferenceMode inference_;
};
TemporaryFolder* FinishedVideo::weights_ = nullptr;

TEST_F(FinishedVideo, SaysThatItIsSlowerThanItsSound) {
  VideoWriter writer(in_, {.height = 32, .width = 32, .rate = {10, 1}, .audio = AudioFormat{16000, 1}});
  writer.write(moving_picture(5, 32, 32));
  writer.write_audio(at::rand({1, 8000}) - 0.5);
  writer.finish();
  finish({{"adjust_fps_for_interpolation", false}});
  const nlohmann::json done = said().at("finish").at(0);
  EXPECT_NE(done.value("notes", nlohmann::json()).dump().find("the picture is slower by the frames that are drawn"),
            std::string::npos)
      << done;
}

TEST_F(FinishedVideo, AtTheMinimalLevelQuotesNoNotesOfAnEarlierFinish) {
  const std::string before =
      R"({"wan_infer": "1.0.0", "finish": [{"device": "cpu", "notes": [{"subject": "IN", "text": "secret.mov"}]}]})";
  VideoWriter writer(in_, {.height = 32, .width = 32, .rate = {10, 1}, .metadata = before});
  writer.write(moving_picture(2, 32, 32));
  writer.finish();
  finish({{"metadata", "minimal"}});
  const nlohmann::json done = said().at("finish");
  ASSERT_EQ(done.size(), 2u) << done;
  EXPECT_EQ(done.at(0).at("device"), "cpu");
  EXPECT_EQ(done.dump().find("secret"), std::string::npos) << done;
}

TEST_F(FinishedVideo, WhoseMetadataDoesNotFitIsRefusedBeforeAnyFrameIsDrawn) {
  // It fits alone, and not with the notes that may come.
  const nlohmann::json before = {{"wan_infer", "1.0.0"}, {"request", {{"prompt", std::string(1'000'000, 'x')}}}};
  VideoWriter writer(in_, {.height = 32, .width = 32, .rate = {10, 1}, .metadata = before.dump()});
  writer.write(moving_picture(2, 32, 32));
  writer.finish();
  std::string error;
  try {
    finish();
  } catch (const InvalidRequest& refused) {
    error = refused.what();
  }
  EXPECT_TRUE(error.starts_with("[metadata] must be at most 1 MB")) << error;
  EXPECT_EQ(std::count(events_.begin(), events_.end(), "interpolator"), 0) << "it is not even loaded";
  EXPECT_FALSE(fs::exists(out_));
  finish({{"metadata", "none"}});
  EXPECT_TRUE(fs::exists(out_)) << "what the refusal names";
}

}  // namespace
}  // namespace wan
