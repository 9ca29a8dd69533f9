#include "engine/job/input_safety.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/base/text.h"
#include "engine/media/image_reader.h"
#include "engine/media/video_reader.h"
#include "engine/request/params.h"

namespace wan {

namespace {

bool is_video(const std::string& field) {
  return field == "video_url" || field == "pose_video_url";
}

/// The pictures that a request names, by field.
std::map<std::string, std::string> pictures_of(const Request& request) {
  std::map<std::string, std::string> named;
  for (const char* field : {"image_url", "last_image_url", "video_url", "pose_video_url"}) {
    const Parameter& parameter = *find_parameter(field);
    const std::string& input = request.*std::get<std::string Request::*>(parameter.field);
    if (parameter.accepts(request.task) && !input.empty()) named[field] = input;
  }
  return named;
}

/// Frames of a video that the job may show, as it reads them: memory of a few of them.
void look_at_video(const Request& request, const MediaFile& file, SafetyCheck& check, Progress& progress,
                   const std::string& label) {
  VideoReading how{.deinterlace = request.deinterlace};
  const bool poses = file.field == std::string("pose_video_url");
  if (request.resample_fps || poses) how.rate = Rational{request.frames_per_second, 1};
  VideoReader reader(file, how);
  const VideoInfo& info = reader.info();
  int64_t stated = how.rate ? std::llround(info.seconds * how.rate->value()) : info.frames;
  // A speech is as long as its sound, unless a length was asked for.
  const int64_t most = poses && !request.num_frames_given ? INT64_MAX : request.rendered_frames();
  if (stated <= 0) stated = std::min<int64_t>(most, 4096);
  constexpr int64_t kMostStated = 1 << 22;  // days of video: what a file states takes no memory
  const int64_t frames = std::min({stated, most, kMostStated});
  SafetyStep step(check, frames, looked_frames(frames));
  FrameStream stream({&step}, [](const Frames&) {});
  for (int64_t read = 0; read < most; ++read) {
    progress.at({Stage::Load, read, std::max(frames, read + 1), "", label});
    const std::optional<VideoFrame> frame = reader.next();
    if (!frame) break;
    stream.push(frame->rgb.unsqueeze(0));
  }
  stream.end();
}

std::string way_on() {
  return "another input, or --no-enable-safety-checker, --safety-action flag or another --safety-threshold, goes on";
}

}  // namespace

void InputSafety::look_at_words(const Request& request, const std::string& field, const std::string& text,
                                SafetyRecord& record) {
  if (!request.enable_safety_checker || request.blocked_words.empty()) return;
  auto list = lists_.find(request.blocked_words);
  if (list == lists_.end())
    list = lists_.emplace(request.blocked_words, BlockedWords::read(request.blocked_words)).first;
  const std::string found = list->second.found_in(text);
  record.action = request.safety_action;
  record.inputs[field] = {.flagged = !found.empty(), .score = 0, .found = found, .frame = 0, .frames = 0};
  if (!found.empty() && safety_rule(request).action == SafetyAction::Refuse)
    throw SafetyRefusal(field, "must have no blocked word, has " + shown(found),
                        std::string("another prompt, ") +
                            (field == kExpandedField ? "--no-enable-prompt-expansion, " : "") +
                            "--no-enable-safety-checker or --safety-action flag goes on",
                        record);
}

void InputSafety::look_at_texts(const Request& request, const std::string& expanded, SafetyRecord& record) {
  look_at_prompt(request, record);
  if (!expanded.empty()) look_at_words(request, kExpandedField, expanded, record);
}

const SafetyVerdict& InputSafety::verdict_of(const Request& request, const MediaFile& file, const std::string& content,
                                             const UsedSafety& used, Progress& progress, const std::string& label) {
  const bool video = is_video(file.field);
  nlohmann::json key = {content, used.part.path.string(), request.safety_threshold, video};
  for (const FileIdentity& part : used.files) key.push_back(part.digest);
  if (video)
    key.push_back({file.field, request.resample_fps, request.frames_per_second, request.deinterlace,
                   request.num_frames_given, request.rendered_frames()});
  const std::string text = key.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (const auto known = known_.find(text); known != known_.end()) return known->second;
  SafetyCheck check(*used.network, safety_rule(request).threshold);
  if (video)
    look_at_video(request, file, check, progress, label);
  else
    check.look(read_image(file), 0);
  return known_.emplace(text, check.verdict()).first->second;
}

SafetyRecord InputSafety::look(const Request& request, const InputFiles& files, const InputIdentities& inputs,
                               const UsedSafety& used, Notes& notes, Progress& progress, const std::string& label) {
  SafetyRecord record;
  if (!request.enable_safety_checker) return record;
  look_at_prompt(request, record);
  const std::map<std::string, std::string> pictures = pictures_of(request);
  if (pictures.empty() && request.blocked_words.empty() && !request.enable_output_safety_checker)
    notes.add({"enable_safety_checker", "nothing is looked at: there is no input picture, and no words are blocked",
               "--blocked-words FILE names some, --enable-output-safety-checker looks at the video"});
  if (!pictures.empty() && !used.is_there())
    notes.add({"enable_safety_checker", "the prompt alone is looked at, and no input picture: no checker is named",
               "--safety-checker DIR names one"});
  if (!used.is_there()) return record;
  const SafetyRule rule = safety_rule(request);
  for (const MediaFile* file : files.all()) {
    const std::string field = file->field;
    if (!pictures.contains(field)) continue;
    const auto identity = inputs.find(field);
    const std::string content = identity == inputs.end() ? file->path : identity->second.sha256;
    const SafetyFinding finding = finding_of(verdict_of(request, *file, content, used, progress, label));
    record.action = request.safety_action;
    set_checker(record, *used.network, rule);
    record.inputs[field] = finding;
    if (finding.flagged && rule.action == SafetyAction::Refuse)
      throw SafetyRefusal(field,
                          "must not show what the safety checker flags: " + safety_text(finding, record.threshold),
                          way_on(), record);
  }
  return record;
}

void note_idle_safety(const Request& request, Notes& notes) {
  if (request.enable_safety_checker || request.enable_output_safety_checker) return;
  const char* const field = request.safety_action != "refuse" ? "safety_action"
                            : request.discard                 ? "discard"
                            : request.safety_threshold >= -1  ? "safety_threshold"
                                                              : nullptr;
  if (field)
    notes.add({field, "it has no effect: no check is asked for",
               "--safety-checker DIR or --blocked-words FILE turns one on"});
}

bool knows_inputs(const SafetyRecord& record, const Request& request, const UsedSafety& used) {
  if (!used.is_there()) return true;
  SafetyRecord now;
  set_checker(now, *used.network, safety_rule(request));
  const std::map<std::string, std::string> pictures = pictures_of(request);
  if (pictures.empty()) return true;
  return record.checker == now.checker && record.threshold == now.threshold &&
         std::ranges::all_of(pictures, [&](const auto& picture) { return record.inputs.contains(picture.first); });
}

}  // namespace wan
