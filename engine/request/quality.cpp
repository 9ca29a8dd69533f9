#include "engine/request/quality.h"

#include <cmath>

#include "engine/base/text.h"

namespace wan {
namespace {

constexpr const char* kRetryOrSeed =
    "another seed; where --precision, --skip-softmax or --acceleration was given, --quality-check retry renders once "
    "more without them";

bool reaches(int64_t part, int64_t all, double share) {
  return part > 0 && double(part) >= share * double(all);
}

/// "37 of 81 frames are"
std::string frames_are(int64_t part, int64_t all) {
  return std::to_string(part) + " of " + std::to_string(all) + (all == 1 ? " frame is" : " frames are");
}

double drift_limit(const QualityNumbers& quality, double single, double chained) {
  return quality.clips > 1 ? chained : single;
}

/// What to do about drift.
std::string steadier(const QualityNumbers& quality) {
  constexpr int64_t kTrained = 81;  // frames: the length that the model was trained at
  if (quality.clips > 1) return "fewer clips: --max-seconds, or a sound that is cut where the speaker pauses";
  return std::string(quality.frames > kTrained ? "81 frames or fewer, " : "") +
         "another seed, or a lower --guidance-scale";
}

}  // namespace

QualityCheck quality_check_of(const Request& request) {
  return request.quality_check == "off"     ? QualityCheck::Off
         : request.quality_check == "retry" ? QualityCheck::Retry
                                            : QualityCheck::Warn;
}

double rounded(double value) {
  return std::round(value * 100) / 100 + 0.0;
}

std::vector<Finding> findings(const QualityNumbers& q) {
  std::vector<Finding> found;
  const auto add = [&](const char* kind, std::string text, std::string change) {
    found.push_back({kind, std::move(text), std::move(change)});
  };
  if (reaches(q.black_frames, q.frames, kEmptyShare))
    add("black", frames_are(q.black_frames, q.frames) + " black: the mean brightness is below 2 of 255", kRetryOrSeed);
  if (reaches(q.flat_frames, q.frames, kEmptyShare))
    add("flat", frames_are(q.flat_frames, q.frames) + " of one colour: nothing is to be seen in them", kRetryOrSeed);
  if (q.frozen_frames > 1 && (q.frozen_seconds >= kFrozenSeconds || q.frozen_frames == q.frames))
    add("frozen",
        "the picture stands still for " + decimals(q.frozen_seconds) + " s: " + std::to_string(q.frozen_frames) +
            " of " + std::to_string(q.frames) + " frames in a row are equal",
        "a prompt that says what moves, or another seed");
  if (q.flicker_frames >= kFlickerFrames && reaches(q.flicker_frames, q.frames, kFlickerShare))
    add("flicker",
        "the brightness flickers: it turns at " + std::to_string(q.flicker_frames) + " of " + std::to_string(q.frames) +
            " frames by at least 2 of 255",
        kRetryOrSeed);
  if (std::abs(q.brightness_drift) >= drift_limit(q, kBrightnessDrift, kChainedBrightnessDrift))
    add("brightness",
        "the picture grows " + std::string(q.brightness_drift > 0 ? "brighter" : "darker") +
            " from its beginning to its end, by " + decimals(std::abs(q.brightness_drift)) + " of 255",
        steadier(q));
  if (q.colour_drift >= drift_limit(q, kColourDrift, kChainedColourDrift))
    add("colour", "the colours drift from the beginning to the end, by " + decimals(q.colour_drift) + " of 255",
        steadier(q));
  if (q.seams > 0)
    add("seam",
        (q.seams == 1 ? "one border between clips is" : std::to_string(q.seams) + " borders between clips are") +
            std::string(" visible: at frame ") + std::to_string(q.seam_frame) + " the picture changes by " +
            decimals(q.seam_change) + " of 255, inside of clips by " + decimals(q.usual_change),
        kRetryOrSeed);
  if (q.sound_shift && std::abs(*q.sound_shift) > kSoundOffset)
    add("sound",
        "the sound is " + decimals(std::abs(*q.sound_shift)) + " ms " + (*q.sound_shift > 0 ? "late" : "early") +
            " against the picture",
        "please report it: the file was written with it");
  return found;
}

std::string kinds_text(const std::vector<Finding>& found) {
  std::string text;
  for (const Finding& finding : found) text += (text.empty() ? "" : ", ") + finding.kind;
  return text;
}

nlohmann::ordered_json to_json(const QualityNumbers& q) {
  nlohmann::ordered_json json = {{"frames", q.frames},
                                 {"black_frames", q.black_frames},
                                 {"flat_frames", q.flat_frames},
                                 {"frozen_frames", q.frozen_frames},
                                 {"frozen_seconds", q.frozen_seconds},
                                 {"flicker_frames", q.flicker_frames},
                                 {"brightness_drift", q.brightness_drift},
                                 {"colour_drift", q.colour_drift},
                                 {"usual_change", q.usual_change}};
  if (q.clips > 1)
    json.update({{"clips", q.clips}, {"seam_change", q.seam_change}, {"seam_frame", q.seam_frame}, {"seams", q.seams}});
  if (q.sound_offset) json["sound_offset_ms"] = *q.sound_offset;
  if (q.sound_shift) json["sound_shift_ms"] = *q.sound_shift;
  if (q.sound_excess) json["sound_excess_ms"] = *q.sound_excess;
  json["found"] = nlohmann::ordered_json::array();
  for (const Finding& finding : findings(q))
    json["found"].push_back({{"kind", finding.kind}, {"text", finding.text}, {"change", finding.change}});
  return json;
}

QualityNumbers read_quality(const nlohmann::json& json) {
  const auto milliseconds = [&](const char* name) {
    return json.contains(name) ? std::optional(json.at(name).get<double>()) : std::nullopt;
  };
  return {.frames = json.at("frames"),
          .black_frames = json.at("black_frames"),
          .flat_frames = json.at("flat_frames"),
          .frozen_frames = json.at("frozen_frames"),
          .frozen_seconds = json.at("frozen_seconds"),
          .flicker_frames = json.at("flicker_frames"),
          .brightness_drift = json.at("brightness_drift"),
          .colour_drift = json.at("colour_drift"),
          .clips = json.value("clips", int64_t(1)),
          .usual_change = json.at("usual_change"),
          .seam_change = json.value("seam_change", 0.0),
          .seam_frame = json.value("seam_frame", int64_t(0)),
          .seams = json.value("seams", int64_t(0)),
          .sound_offset = milliseconds("sound_offset_ms"),
          .sound_shift = milliseconds("sound_shift_ms"),
          .sound_excess = milliseconds("sound_excess_ms")};
}

}  // namespace wan
