#include "engine/job/preflight.h"

#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/speech.h"
#include "engine/job/task.h"
#include "engine/media/kept_sound.h"
#include "engine/media/video_reader.h"
#include "engine/media/writer.h"
#include "engine/request/prompt_syntax.h"
#include "models/text/tokenizer/tokenizer.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMargin = 64 << 20;  // that stays free
/// A rendered video of high quality has less for each pixel, noise aside.
constexpr double kVideoBytesPerPixel = 0.25;

/// The file whose sound is kept; empty: none.
std::string check_video(const Request& request, const InputFiles& files, Notes& notes) {
  VideoReading how{.deinterlace = request.deinterlace};
  if (request.resample_fps) how.rate = Rational{request.frames_per_second, 1};
  const VideoReader reader(files.video, how);
  Geometry geometry = asked_geometry(request);
  settle_size(request, reader.info().width, reader.info().height, geometry);
  if (!request.keep_audio || !reader.info().has_audio) return "";
  check_kept_sound(files.video, container_of(request.out), notes);
  return files.video.path;
}

void note_prompt(const std::string& field, const std::string& prompt, const ModelFolder& folder, Notes& notes) {
  for (const std::string& example : foreign_syntax(prompt))
    notes.add({field, "it has " + shown(example) + ", a notation of other programs: it is read as words",
               "write it as a sentence"});
  if (prompt.size() < size_t(text::kMostTokens)) return;  // a token has a byte at least
  const text::Tokenizer::Length length = text::Tokenizer::open(folder.tokenizer).measure(prompt);
  if (length.last_words.empty()) return;
  notes.add({field,
             "it has " + std::to_string(length.tokens) + " tokens, and the model reads " +
                 std::to_string(text::kMostTokens) + ": what stands behind " + shown(length.last_words) +
                 " has no effect",
             "a shorter text counts as a whole"});
}

/// The file whose sound is kept; empty: none.
std::string check_inputs(const Request& request, const InputFiles& files, Look look, Notes& notes, Progress& progress) {
  if (request.task == Task::V2V && look == Look::Streams) return check_video(request, files, notes);
  if (request.task == Task::S2V)
    check_speech(request, files, notes, progress);
  else if (request.task != Task::T2V)
    return work_of(request.task).load(request, files, notes).keep_audio_from;
  return "";
}

void check_output(const std::string& out, const Record& record, const Extent& extent, const std::string& audio_from) {
  const std::string metadata = to_text(record, metadata_of(record.request));
  constexpr size_t kRoom = 64 << 10;  // for the notes and choices that are still to come
  if (metadata.size() + kRoom > kMostMetadata)
    throw InvalidRequest("metadata", "must be at most " + gigabytes(kMostMetadata - kRoom) + ", this request has " +
                                         gigabytes(metadata.size()) +
                                         "; a shorter prompt, or --metadata minimal or none");
  check_header(out, {.height = extent.height,
                     .width = extent.width,
                     .rate = {record.request.frames_per_second, 1},
                     .quality = record.request.video_quality,
                     .write_mode = record.request.video_write_mode,
                     .metadata = metadata,
                     .audio = std::nullopt,
                     .audio_from = audio_from});
}

}  // namespace

DiskNeed disk_need(const Request& request, const Extent& extent) {
  const uint64_t pixels = uint64_t(extent.frames * extent.height * extent.width);
  const uint64_t latents = pixels / (4 * vae::kPixels * vae::kPixels) * vae::kLatentChannels * 4;
  const uint64_t states = request.solver == "euler" ? 1 : 4;  // the sample, and what the solver remembers
  const uint64_t input = request.task == Task::I2V || request.task == Task::V2V ? latents + latents / 4 : 0;
  return {states * latents + input, request.task == Task::S2V ? 0 : uint64_t(double(pixels) * kVideoBytesPerPixel)};
}

void check_space(uint64_t bytes, const fs::path& path) {
  std::error_code unknown;
  fs::path folder = fs::absolute(path).parent_path();
  while (!fs::exists(folder, unknown) && folder.has_relative_path()) folder = folder.parent_path();
  const fs::space_info space = fs::space(folder, unknown);
  if (unknown || space.available >= bytes + kMargin) return;
  throw InvalidRequest("out", "must lie on a disk with " + gigabytes(bytes + kMargin) + " free, has " +
                                  gigabytes(space.available) + ": " + shown_path(path.string()) +
                                  "; make room, or another --out is on another disk");
}

void preflight(const Request& request, const InputFiles& files, const Record& record, const ModelFolder& folder,
               const MemoryNeed& need, const Placement& placement, Look look, Notes& notes, Progress& progress) {
  const Extent extent = largest_extent(request);
  check_fits(need, extent, placement);
  note_prompt("prompt", request.prompt, folder, notes);
  note_prompt("negative_prompt", request.negative_prompt, folder, notes);
  check_output(request.out, record, extent, check_inputs(request, files, look, notes, progress));
}

}  // namespace wan
