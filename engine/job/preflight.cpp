#include "engine/job/preflight.h"

#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/task.h"
#include "engine/media/audio_reader.h"
#include "engine/media/image_reader.h"
#include "engine/media/kept_sound.h"
#include "engine/media/video_reader.h"
#include "engine/media/writer.h"
#include "engine/request/prompt_syntax.h"
#include "engine/speech/pose_video.h"
#include "models/text/tokenizer/tokenizer.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMargin = 64 << 20;  // that stays free
/// A rendered video of high quality has less for each pixel, noise aside.
constexpr double kVideoBytesPerPixel = 0.25;

void check_pose(const Request& request, const InputFiles& files, const at::Tensor& image, Notes& notes) {
  if (files.pose_video.path.empty()) return;
  const Size size = video_size(request, image.size(1), image.size(0));
  PoseVideo(files.pose_video, request, size.height, size.width).tell(notes);
}

void check_video(const Request& request, const InputFiles& files, Notes& notes) {
  VideoReading how{.deinterlace = request.deinterlace};
  if (request.resample_fps) how.rate = Rational{request.frames_per_second, 1};
  const VideoReader reader(files.video, how);
  Geometry geometry = asked_geometry(request);
  settle_size(request, reader.info().width, reader.info().height, geometry);
  if (request.keep_audio && reader.info().has_audio) check_kept_sound(files.video, notes);
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

void check_inputs(const Request& request, const InputFiles& files, Notes& notes) {
  if (request.task == Task::I2V) work_of(request.task).load(request, files, notes);
  if (request.task == Task::V2V) check_video(request, files, notes);
  if (request.task != Task::S2V) return;
  check_pose(request, files, read_image(files.image, &notes), notes);
  AudioReader(files.audio, Mix::Mono).next();
}

void check_output(const Record& record, const Extent& extent) {
  const std::string metadata = to_text(record, metadata_of(record.request));
  constexpr size_t kRoom = 64 << 10;  // for the notes and choices that are still to come
  if (metadata.size() + kRoom > kMostMetadata)
    throw InvalidRequest("metadata", "must be at most " + gigabytes(kMostMetadata - kRoom) + ", this request has " +
                                         gigabytes(metadata.size()) +
                                         "; a shorter prompt, or --metadata minimal or none");
  check_header({.height = extent.height,
                .width = extent.width,
                .rate = {record.request.frames_per_second, 1},
                .quality = record.request.video_quality,
                .write_mode = record.request.video_write_mode,
                .metadata = metadata});
}

}  // namespace

DiskNeed disk_need(const Request& request, const Extent& extent) {
  constexpr uint64_t kText = 512 * 4096 * 4;  // states of one prompt
  const uint64_t pixels = uint64_t(extent.frames * extent.height * extent.width);
  const uint64_t latents = pixels / (4 * vae::kPixels * vae::kPixels) * vae::kLatentChannels * 4;
  // The input's encoding, the sample with up to three of the solver's, twice while one replaces the other, the latents.
  const uint64_t states = 2 * kText + 2 * latents + 2 * 4 * latents + latents;
  return {states, request.task == Task::S2V ? 0 : uint64_t(double(pixels) * kVideoBytesPerPixel)};
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
               const MemoryNeed& need, const Placement& placement, Notes& notes) {
  const Extent extent = largest_extent(request);
  check_fits(need, extent, placement);
  check_output(record, extent);
  note_prompt("prompt", request.prompt, folder, notes);
  note_prompt("negative_prompt", request.negative_prompt, folder, notes);
  check_inputs(request, files, notes);
}

}  // namespace wan
