// Whole jobs with made-up safety checkers: requests, the refusals in which they end, and what their files say.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/media/metadata.h"
#include "engine/media/png.h"
#include "engine/media/video_reader.h"
#include "engine/request/parse.h"
#include "engine/request/safety.h"
#include "tests/support/render.h"
#include "tests/support/safety_checkers.h"

namespace wan {

class SafetyScene : public testing::Test {
 protected:
  SafetyScene() {
    write_safety_checker(folder_ / "nothing", Flags::Nothing);
    write_safety_checker(folder_ / "everything", Flags::Everything);
    write_safety_checker(folder_ / "bright", Flags::Bright);
  }

  /// Null takes a field away.
  Request request(const nlohmann::json& more = nlohmann::json::object()) const {
    nlohmann::json fields = {{"task", "t2v"},
                             {"model", WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano"},
                             {"prompt", "a circle"},
                             {"unlocked", true},
                             {"width", 64},
                             {"height", 64},
                             {"num_frames", 5},
                             {"num_inference_steps", 2},
                             {"seed", 3},
                             {"device", "cpu"},
                             {"out", folder_ / "a.mp4"}};
    fields.update(more);
    for (auto field = fields.begin(); field != fields.end();)
      field = field->is_null() ? fields.erase(field) : std::next(field);
    return parse(fields, {.folder = folder_.path()});
  }
  Request picture(const char* name, int64_t level, const nlohmann::json& more = nlohmann::json::object()) const {
    write_png(folder_ / name, at::full({64, 64, 3}, level, at::kByte));
    nlohmann::json fields = {
        {"task", "i2v"}, {"model", WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-I2V-A14B"}, {"image_url", name}};
    fields.update(more);
    return request(fields);
  }
  std::string run(const Request& request, Progress& progress, const SingleOptions& options = {}) {
    return render(request, options, log_, progress);
  }
  std::string run(const Request& request) {
    Silent silent;
    return run(request, silent);
  }
  /// The refusal that rendering ends in; a failure of the test where it ends otherwise.
  SafetyRefusal refusal_of(const Request& request, Progress& progress, const SingleOptions& options = {}) {
    try {
      run(request, progress, options);
    } catch (const SafetyRefusal& refusal) {
      return refusal;
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
      return {"", "", "", {}};
    }
    ADD_FAILURE() << "nothing is refused";
    return {"", "", "", {}};
  }
  static std::vector<at::Tensor> frames_of(const std::string& path) {
    VideoReader reader({path, "video"});
    std::vector<at::Tensor> frames;
    while (std::optional<VideoFrame> frame = reader.next()) frames.push_back(frame->rgb);
    return frames;
  }
  static nlohmann::json said_in(const std::string& path) { return nlohmann::json::parse(read_metadata({path, "out"})); }
  bool told(const std::string& event) const {
    for (const auto& [name, fields] : told_)
      if (name == event) return true;
    return false;
  }

  TemporaryFolder folder_;
  std::vector<std::pair<std::string, Log::Fields>> told_;
  Log log_{[this](std::string_view event, const Log::Fields& fields) { told_.emplace_back(event, fields); }};

 private:
  c10::InferenceMode inference_;
};

}  // namespace wan
