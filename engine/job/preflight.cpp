#include "engine/job/preflight.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/speech.h"
#include "engine/job/speech_folder.h"
#include "engine/job/task.h"
#include "engine/media/kept_sound.h"
#include "engine/media/video_reader.h"
#include "engine/media/writer.h"
#include "engine/request/guidance_interval.h"
#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "engine/request/prompt_syntax.h"
#include "engine/request/schedule.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/needs.h"
#include "engine/residency/open_network.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMargin = 64 << 20;  // that stays free
/// A rendered video of high quality has less for each pixel, noise aside.
constexpr double kVideoBytesPerPixel = 0.25;

/// The file whose sound is kept; empty: none.
std::string check_video(const Request& request, const InputFiles& files) {
  VideoReading how{.deinterlace = request.deinterlace};
  if (request.resample_fps) how.rate = Rational{request.frames_per_second, 1};
  const VideoReader reader(files.video, how);
  Geometry geometry = asked_geometry(request);
  settle_size(request, reader.info().width, reader.info().height, geometry);
  if (!request.keep_audio || !reader.info().has_audio) return "";
  Notes later;  // whether it is kept is known when the frames are read, and told then
  check_kept_sound(files.video, container_of(request.out), /*seconds=*/0, later);
  return files.video.path;
}

/// The file whose sound is kept; empty: none.
std::string check_inputs(const Request& request, const InputFiles& files, Look look, Notes& notes, Progress& progress) {
  if (request.task == Task::V2V && look == Look::Streams) return check_video(request, files);
  if (request.task == Task::S2V)
    check_speech(request, files, notes, progress);
  else if (request.task != Task::T2V)
    return work_of(request.task).load(request, files, notes).keep_audio_from;
  return "";
}

/// "'((word))'"; of several the first two: "'((word))', '--ar' and 6 more".
std::string listed_notations(const std::vector<std::string>& found) {
  if (found.size() == 2) return shown(found[0]) + " and " + shown(found[1]);
  if (found.size() < 2) return shown(found.at(0));
  return shown(found[0]) + ", " + shown(found[1]) + " and " + std::to_string(found.size() - 2) + " more";
}

/// Names what reading the inputs depends on.
std::string inputs_key(const Request& request, const Record& record) {
  nlohmann::json key = {task_name(request.task),
                        request.preset,
                        request.unlocked,
                        request.resolution,
                        request.aspect_ratio,
                        request.width,
                        request.height,
                        request.num_frames,
                        request.num_frames_given,
                        request.frames_per_second,
                        request.resample_fps,
                        request.keep_audio,
                        request.deinterlace,
                        request.start_from_image,
                        request.max_seconds,
                        request.most_audio_seconds,
                        std::filesystem::path(request.out).extension()};
  for (const auto& [field, input] : record.inputs) key.push_back({field, input.name, input.sha256});
  return key.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

DiskNeed disk_need(const Request& request, const Extent& extent) {
  const uint64_t pixels = uint64_t(extent.frames * extent.height * extent.width);
  const double shown = double(pixels) * double(interpolation_of(request).frames(extent.frames)) / double(extent.frames);
  const uint64_t latents = pixels / (4 * vae::kPixels * vae::kPixels) * vae::kLatentChannels * 4;
  const bool forgets = request.solver == "euler" || request.solver == "step_distill";
  // The sample, what the solver remembers, and of each branch the sample that a kept residual was computed of.
  const uint64_t states = (forgets ? 1 : 4) + (request.acceleration == "regular" ? kBranches : 0);
  const uint64_t input = request.task == Task::I2V || request.task == Task::V2V ? latents + latents / 4 : 0;
  constexpr uint64_t kStates = 256 << 20;
  if (request.task != Task::S2V) return {states * latents + input, uint64_t(shown * kVideoBytesPerPixel), kStates};
  const bool one_clip = request.num_frames_given && request.preset != "reference";
  const uint64_t motion = uint64_t(MotionBuffer::kFrames * 3 * extent.height * extent.width) * sizeof(float);
  return {states * latents, 0, kStates + (one_clip ? 0 : SpeechFolder::kGenerations * motion)};
}

void check_space(uint64_t bytes, const fs::path& path) {
  std::error_code unknown;
  fs::path folder = fs::absolute(path).parent_path();
  while (!fs::exists(folder, unknown) && folder.has_relative_path()) folder = folder.parent_path();
  const fs::space_info space = fs::space(folder, unknown);
  if (unknown || space.available >= bytes + kMargin) return;
  const std::string wrong = "must lie on a disk with " + gigabytes(bytes + kMargin) + " free, and the folder " +
                            shown_path(folder.string()) + " has " + gigabytes(space.available) + ": " +
                            shown_path(path.string()) + "; make room, or another --out is on another disk";
  throw InvalidRequest(std::vector<FieldError>{{"out", wrong, kDiskFull, "", ""}});
}

Fit Preflight::memory(const Request& request, const Group& group, const Placement& placement,
                      const std::optional<VaeTiles>& before, const InterpolatorPart& interpolator,
                      const ModelPart& checker) {
  const Extent extent = largest_extent(request);
  const Schedule schedule = make_schedule(request);
  const bool switches = schedule.first_low() > 0 && schedule.first_low() < schedule.size();
  nlohmann::json loras = {request.loras, request.lora_lax, request.acceleration, request.calibration};
  if (before) loras.push_back({before->half, before->wide});
  if (interpolator.is_there()) loras.push_back(interpolator.file.path.string());
  if (!checker.path.empty()) loras.push_back({"checker", checker.path.string()});
  const auto key = std::tuple(&group, request.task, extent.frames, extent.height, extent.width, switches,
                              loras.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  const auto known = memory_.find(key);
  if (known != memory_.end()) return known->second;
  ModelParts parts = group.parts;
  parts.loras = lora_parts(request);
  parts.interpolator = interpolator;
  parts.safety_checker = checker;
  return memory_.emplace(key, fit_of(request, parts, placement, before)).first->second;
}

void Preflight::look(const Request& request, const InputFiles& files, const Record& record, const Group& group,
                     const Fit& fit, Notes& notes, Progress& progress) {
  const Extent extent = largest_extent(request);
  fit.check();
  note_prompt("prompt", request.prompt, group.parts, notes);
  note_prompt("negative_prompt", request.negative_prompt, group.parts, notes);
  const Schedule schedule = make_schedule(request);
  if (const std::optional<Note> note = guides_nowhere(request, schedule)) notes.add(*note);
  if (schedule.empty())
    notes.add({"strength", "it keeps no step: the output is the input, encoded again", "a higher one changes it"});
  const Found& found = inputs(request, files, record, progress);
  for (const Note& note : found.notes) notes.add(note);
  if (found.refusal) std::rethrow_exception(found.refusal);
  note_chain(request, found.keeps_sound, notes);
  check_output(record, extent, found.keeps_sound ? files.video.path : "");
}

const Preflight::Found& Preflight::inputs(const Request& request, const InputFiles& files, const Record& record,
                                          Progress& progress) {
  const std::string key = inputs_key(request, record);
  if (const auto known = found_.find(key); known != found_.end()) return known->second;
  Found found;
  Notes notes;
  try {
    found.keeps_sound = !check_inputs(request, files, look_, notes, progress).empty();
  } catch (const InvalidRequest&) {
    found.refusal = std::current_exception();
  }
  found.notes = notes.list();
  return found_[key] = std::move(found);
}

void Preflight::check_output(const Record& record, const Extent& extent, const std::string& audio_from) {
  const std::string metadata = to_text(record, metadata_of(record.request));
  constexpr size_t kRoom = 64 << 10;  // for the notes and choices that are still to come
  if (metadata.size() + kRoom > kMostMetadata)
    throw InvalidRequest("metadata", "must be at most " + gigabytes(kMostMetadata - kRoom) + ", this request has " +
                                         gigabytes(metadata.size()) +
                                         "; a shorter prompt, or --metadata minimal or none");
  const Request& request = record.request;
  const auto video = record.inputs.find("video_url");
  const std::string sound = audio_from.empty() || video == record.inputs.end() ? "" : video->second.sha256;
  const Rational rate = interpolation_of(request).rate({request.frames_per_second, 1});
  const nlohmann::json key = {extent.height,
                              extent.width,
                              request.video_quality,
                              request.video_write_mode,
                              metadata.empty(),
                              rate_text(rate),
                              sound,
                              std::filesystem::path(request.out).extension()};
  if (!headers_.insert(key.dump()).second) return;
  try {
    check_header(request.out, {.height = extent.height,
                               .width = extent.width,
                               .rate = rate,
                               .quality = request.video_quality,
                               .write_mode = request.video_write_mode,
                               .metadata = metadata,
                               .audio = std::nullopt,
                               .audio_from = audio_from});
  } catch (...) {
    headers_.erase(key.dump());
    throw;
  }
}

void Preflight::note_prompt(const std::string& field, const std::string& prompt, const ModelParts& parts,
                            Notes& notes) {
  if (const std::vector<std::string> foreign = foreign_syntax(prompt); !foreign.empty())
    notes.add({field,
               "it has " + listed_notations(foreign) +
                   (foreign.size() == 1 ? ", a notation of other programs: it is read as words"
                                        : ", notations of other programs: they are read as words"),
               "write it as a sentence"});
  if (prompt.size() < size_t(text::kMostTokens)) return;  // a token has a byte at least
  auto tokenizer = tokenizers_.find(parts.tokenizer.path);
  if (tokenizer == tokenizers_.end())
    tokenizer = tokenizers_.emplace(parts.tokenizer.path, open_tokenizer(parts)).first;
  const text::Tokenizer::Length length = tokenizer->second.measure(prompt);
  if (length.last_words.empty()) return;
  notes.add({field,
             "it has " + std::to_string(length.tokens) + " tokens, and the model reads " +
                 std::to_string(text::kMostTokens) + ": what stands behind " + shown(length.last_words) +
                 " has no effect",
             "a shorter text counts as a whole"});
}

}  // namespace wan
